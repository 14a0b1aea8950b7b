//! The action credit matrix: what each AI action costs at each instant (R8).

use super::calendar::Instant;
use super::credits::Credits;
use super::ids::ActionCode;
use std::collections::BTreeMap;

/// The price of an action from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceVersion {
    /// First instant at which it counts.
    pub effective_from: Instant,
    /// Credits for one action; `None` when the action is retired from then on.
    pub credits: Option<Credits>,
}

/// An AI operation with a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its code in every call and file.
    pub code: ActionCode,
    /// Its name for people.
    pub title: String,
    /// One sentence on what it does.
    pub help: String,
    /// Its prices, oldest first.
    pub versions: Vec<PriceVersion>,
}

impl Action {
    /// The version in force at `t`: the one with the greatest `effective_from <= t`.
    #[must_use]
    pub fn version_at(&self, t: Instant) -> Option<&PriceVersion> {
        self.versions.iter().filter(|v| v.effective_from <= t).max_by_key(|v| v.effective_from)
    }
}

/// Why an action has no price. Nothing is written for such a call (R8).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPrice {
    /// Not in the matrix.
    #[error("unknown_action: there is no action {action}; `creditd actions list` shows those there are")]
    Unknown {
        /// What was asked for.
        action: ActionCode,
    },
    /// In the matrix, but only later.
    #[error("unknown_action: the action {action} has no price at {at}; its first price counts from {from}")]
    NotYet {
        /// What was asked for.
        action: ActionCode,
        /// When.
        at: Instant,
        /// When its first price begins.
        from: Instant,
    },
    /// Retired.
    #[error("retired_action: the action {action} is retired since {since}")]
    Retired {
        /// What was asked for.
        action: ActionCode,
        /// Since when.
        since: Instant,
    },
}

impl NoPrice {
    /// The result code: one word per cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            NoPrice::Unknown { .. } | NoPrice::NotYet { .. } => "unknown_action",
            NoPrice::Retired { .. } => "retired_action",
        }
    }
}

/// All actions, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceMatrix(BTreeMap<ActionCode, Action>);

impl PriceMatrix {
    /// The price of one `action` at `t` (R8).
    ///
    /// # Errors
    /// [`NoPrice`] for an unknown or retired action.
    pub fn price_at(&self, action: &ActionCode, t: Instant) -> Result<Credits, NoPrice> {
        let known = self.0.get(action).ok_or_else(|| NoPrice::Unknown { action: action.clone() })?;
        match known.version_at(t) {
            Some(PriceVersion { credits: Some(credits), .. }) => Ok(*credits),
            Some(PriceVersion { credits: None, effective_from }) => {
                Err(NoPrice::Retired { action: action.clone(), since: *effective_from })
            }
            None => match known.versions.iter().map(|v| v.effective_from).min() {
                Some(from) => Err(NoPrice::NotYet { action: action.clone(), at: t, from }),
                None => Err(NoPrice::Unknown { action: action.clone() }),
            },
        }
    }

    /// All actions, by code.
    pub fn iter(&self) -> impl Iterator<Item = &Action> {
        self.0.values()
    }

    /// The action with this code.
    #[must_use]
    pub fn get(&self, code: &ActionCode) -> Option<&Action> {
        self.0.get(code)
    }
}

impl FromIterator<Action> for PriceMatrix {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> PriceMatrix {
        PriceMatrix(actions.into_iter().map(|action| (action.code.clone(), action)).collect())
    }
}

/// The matrix a new ledger begins with: code, credits, title, help.
///
/// The first three prices are given; the others are defaults that an operator may change with `actions set`.
pub const DEFAULT_ACTIONS: &[(&str, i64, &str, &str)] = &[
    ("text-to-image", 8, "Text to image", "Makes an image from a description."),
    ("erase", 7, "Erase", "Removes an object from an image and fills the gap."),
    ("upscale", 0, "Upscale", "Enlarges an image."),
    ("background-removal", 5, "Background removal", "Cuts the subject out of an image."),
    ("image-enhancement", 4, "Image enhancement", "Improves light, colour and sharpness."),
    ("translation", 1, "Translation", "Translates a text."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> PriceMatrix {
        let code = ActionCode::new("erase").expect("valid");
        let at = |micros, credits: Option<i64>| PriceVersion {
            effective_from: Instant::from_micros(micros),
            credits: credits.map(Credits::new),
        };
        let versions = vec![at(10, Some(7)), at(20, Some(9)), at(30, None)];
        PriceMatrix::from_iter([Action { code, title: "Erase".into(), help: String::new(), versions }])
    }

    #[test]
    fn r8_the_greatest_version_not_after_t_is_the_price() {
        let erase = ActionCode::new("erase").expect("valid");
        let price = |t| matrix().price_at(&erase, Instant::from_micros(t)).map(Credits::get).map_err(|e| e.code());
        assert_eq!(price(9), Err("unknown_action"));
        assert_eq!(price(10), Ok(7));
        assert_eq!(price(19), Ok(7));
        assert_eq!(price(20), Ok(9));
        assert_eq!(price(30), Err("retired_action"));
        let other = ActionCode::new("x").expect("valid");
        assert_eq!(matrix().price_at(&other, Instant::from_micros(10)).map_err(|e| e.code()), Err("unknown_action"));
    }
}
