//! Alerts: which levels of an account fire, stay open or are resolved (DESIGN 5).
//!
//! A level fires when what is available is at or below it and it is armed; it is armed again once more is available.
//! Each time it fires is a *crossing*, numbered per level, so `low#3` names one fact for ever: whatever is said about
//! it can be keyed by that name and is said once, however often the scan runs. Planning is pure and idempotent:
//! planning again on the state a plan leads to yields an empty plan.

use super::calendar::Instant;
use super::credits::Credits;
use super::ids::{BadName, LevelName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Most levels of one account: more would be noise in every admin's inbox.
pub const LEVELS_MAX: usize = 10;

/// A level in percent is a share of the allowance, so at most all of it.
pub const PERCENT_MAX: u8 = 100;

/// Where a level lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// This many credits.
    Credits(Credits),
    /// This share of the monthly allowance, 0 to 100.
    Percent(u8),
}

/// A named threshold. In TOML and JSON: `{ name = "low", percent = 20 }` or `{ name = "tight", credits = 100 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LevelForm", into = "LevelForm")]
pub struct Level {
    name: LevelName,
    threshold: Threshold,
}

/// Why levels were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLevel {
    /// Not the short form of a level.
    #[error("{0:?} is not an alert level; write NAME=CREDITS or NAME=PERCENT%, such as low=20%")]
    Form(String),
    /// No name that a level can have.
    #[error(transparent)]
    Name(#[from] BadName),
    /// Neither or both forms of a threshold.
    #[error("the alert level {0} needs either `percent` or `credits`, exactly one of them")]
    Threshold(LevelName),
    /// A percentage out of range.
    #[error("the alert level {0} is at {1} percent; use 0 to {PERCENT_MAX}")]
    Percent(LevelName, i64),
    /// Fewer than no credits.
    #[error("the alert level {0} is at {1} credits; a balance is never negative, use 0 or more")]
    Negative(LevelName, Credits),
    /// One name, two levels.
    #[error("there are two alert levels named {0}; give each its own name")]
    Twice(LevelName),
    /// More than the bound.
    #[error("there are {0} alert levels; at most {LEVELS_MAX} are allowed")]
    TooMany(usize),
}

impl Level {
    /// A level.
    ///
    /// # Errors
    /// [`BadLevel`] when the threshold is out of range.
    pub fn new(name: LevelName, threshold: Threshold) -> Result<Level, BadLevel> {
        match threshold {
            Threshold::Percent(percent) if percent > PERCENT_MAX => Err(BadLevel::Percent(name, percent.into())),
            Threshold::Credits(credits) if credits < Credits::ZERO => Err(BadLevel::Negative(name, credits)),
            _ => Ok(Level { name, threshold }),
        }
    }

    /// Its name, such as `low`.
    #[must_use]
    pub const fn name(&self) -> &LevelName {
        &self.name
    }

    /// Where it lies.
    #[must_use]
    pub const fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Where it lies in credits, for an account with this monthly allowance; a percentage is rounded down.
    #[must_use]
    pub const fn threshold_credits(&self, allowance: Credits) -> Credits {
        match self.threshold {
            Threshold::Credits(credits) => credits,
            // Amounts keep a factor of 1,000 below i64, so the product is exact for every amount within the limit.
            Threshold::Percent(percent) => Credits::new(allowance.get().saturating_mul(percent as i64) / 100),
        }
    }
}

impl fmt::Display for Level {
    /// The short form: `low=20%`, `tight=100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.threshold {
            Threshold::Percent(percent) => write!(f, "{}={percent}%", self.name),
            Threshold::Credits(credits) => write!(f, "{}={credits}", self.name),
        }
    }
}

impl FromStr for Level {
    type Err = BadLevel;
    fn from_str(text: &str) -> Result<Level, BadLevel> {
        let bad = || BadLevel::Form(text.to_owned());
        let (name, threshold) = text.split_once('=').ok_or_else(bad)?;
        let name = LevelName::new(name.trim())?;
        let (number, is_percent) = match threshold.trim().strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (threshold.trim(), false),
        };
        let number: i64 = number.parse().map_err(|_| bad())?;
        let (percent, credits) = if is_percent { (Some(number), None) } else { (None, Some(Credits::new(number))) };
        LevelForm { name, percent, credits }.try_into()
    }
}

/// How a level is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelForm {
    name: LevelName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credits: Option<Credits>,
}

impl TryFrom<LevelForm> for Level {
    type Error = BadLevel;
    fn try_from(form: LevelForm) -> Result<Level, BadLevel> {
        let threshold = match (form.percent, form.credits) {
            (Some(percent), None) => match u8::try_from(percent) {
                Ok(percent) => Threshold::Percent(percent),
                Err(_) => return Err(BadLevel::Percent(form.name, percent)),
            },
            (None, Some(credits)) => Threshold::Credits(credits),
            _ => return Err(BadLevel::Threshold(form.name)),
        };
        Level::new(form.name, threshold)
    }
}

impl From<Level> for LevelForm {
    fn from(level: Level) -> LevelForm {
        let (percent, credits) = match level.threshold {
            Threshold::Percent(percent) => (Some(percent.into()), None),
            Threshold::Credits(credits) => (None, Some(credits)),
        };
        LevelForm { name: level.name, percent, credits }
    }
}

/// The levels of an account: at most [`LEVELS_MAX`], each name once. None at all means that no alert is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Level>", into = "Vec<Level>")]
pub struct Levels(Vec<Level>);

impl Levels {
    /// Checks names and number.
    ///
    /// # Errors
    /// [`BadLevel`] when there are too many or a name comes twice.
    pub fn new(levels: Vec<Level>) -> Result<Levels, BadLevel> {
        if levels.len() > LEVELS_MAX {
            return Err(BadLevel::TooMany(levels.len()));
        }
        let twice = levels.iter().enumerate().find(|(at, level)| levels[..*at].iter().any(|l| l.name == level.name));
        match twice {
            Some((_, level)) => Err(BadLevel::Twice(level.name.clone())),
            None => Ok(Levels(levels)),
        }
    }

    /// Each level with its credits, from the least to the most advanced: by falling threshold, and where two
    /// thresholds meet in the order they were given in. A share of the allowance that comes to no credits at all is no
    /// level: there is no low or critical where there is no allowance, only exhausted.
    #[must_use]
    pub fn ladder(&self, allowance: Credits) -> Vec<(&Level, Credits)> {
        let mut ladder: Vec<_> = self.0.iter().map(|level| (level, level.threshold_credits(allowance))).collect();
        ladder.retain(|(level, at)| {
            !at.is_zero() || matches!(level.threshold, Threshold::Credits(_) | Threshold::Percent(0))
        });
        ladder.sort_by_key(|(_, threshold)| std::cmp::Reverse(*threshold));
        ladder
    }

    /// The levels in the order they were given in.
    #[must_use]
    pub fn as_slice(&self) -> &[Level] {
        &self.0
    }
}

impl Default for Levels {
    /// 20 % `low`, 5 % `critical`, 0 `exhausted`.
    fn default() -> Levels {
        let defaults = [
            ("low", Threshold::Percent(20)),
            ("critical", Threshold::Percent(5)),
            ("exhausted", Threshold::Credits(Credits::ZERO)),
        ];
        // The names are valid, which `a_life_of_one_account` sees.
        let level = |(name, threshold)| Some(Level { name: LevelName::new(name).ok()?, threshold });
        Levels(defaults.into_iter().filter_map(level).collect())
    }
}

impl fmt::Display for Levels {
    /// The short form: `low=20%,critical=5%,exhausted=0`; `none` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.pad("none");
        }
        f.pad(&self.0.iter().map(Level::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Levels {
    type Err = BadLevel;
    fn from_str(text: &str) -> Result<Levels, BadLevel> {
        match text.trim() {
            "none" => Levels::new(Vec::new()),
            text => Levels::new(text.split(',').map(str::parse).collect::<Result<_, _>>()?),
        }
    }
}

impl TryFrom<Vec<Level>> for Levels {
    type Error = BadLevel;
    fn try_from(levels: Vec<Level>) -> Result<Levels, BadLevel> {
        Levels::new(levels)
    }
}

impl From<Levels> for Vec<Level> {
    fn from(levels: Levels) -> Vec<Level> {
        levels.0
    }
}

/// One time that one level fired: `low#3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crossing {
    /// The name of the level.
    pub level: LevelName,
    /// 1 for the first time in the account's life, then 2, 3, ...
    pub crossing: u32,
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.level, self.crossing)
    }
}

/// A level that has fired and is not armed again yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlert {
    /// The name of the level.
    pub level: LevelName,
    /// Which crossing this is.
    pub crossing: u32,
    /// The level in credits when it fired.
    pub threshold: Credits,
    /// When it was seen.
    pub opened_at: Instant,
}

impl OpenAlert {
    /// Whether credits came since it fired, and not only the levels are others.
    #[must_use]
    pub fn has_risen_to(&self, total_available: Credits) -> bool {
        self.threshold < total_available
    }
}

/// What is known of an account's alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertState {
    /// At most one per level.
    pub open: Vec<OpenAlert>,
    /// How many crossings each level has had, also levels that exist no more.
    pub crossings: BTreeMap<LevelName, u32>,
}

/// A level that fires now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The name of the level.
    pub level: LevelName,
    /// Which crossing this is.
    pub crossing: u32,
    /// The level in credits, by the allowance of the moment.
    pub threshold: Credits,
    /// When it was seen.
    pub opened_at: Instant,
}

/// What an account's alerts need now. Opened alerts stand from the least to the most advanced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertPlan {
    /// Levels that fire.
    pub opened: Vec<Opened>,
    /// Open alerts that are over: more is available, or the level exists no more.
    pub resolved: Vec<Crossing>,
    /// The one crossing to tell the admins about: the most advanced of `opened`. None when nothing opened, or when a
    /// more advanced level is open already, for its notice has said as much.
    pub notice: Option<Crossing>,
}

impl AlertPlan {
    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.resolved.is_empty()
    }
}

impl AlertState {
    /// Carries out `plan`, as the store does with rows.
    pub fn apply(&mut self, plan: &AlertPlan) {
        self.open.retain(|alert| !plan.resolved.iter().any(|over| over.level == alert.level));
        for opened in &plan.opened {
            self.crossings.insert(opened.level.clone(), opened.crossing);
            self.open.push(OpenAlert {
                level: opened.level.clone(),
                crossing: opened.crossing,
                threshold: opened.threshold,
                opened_at: opened.opened_at,
            });
        }
    }

    /// Of alerts that `plan` ends all of, while nothing opens, the most advanced: what is available is above all levels.
    #[must_use]
    pub fn ended(&self, plan: &AlertPlan) -> Option<&OpenAlert> {
        let is_all = plan.opened.is_empty() && plan.resolved.len() == self.open.len();
        self.open.iter().min_by_key(|alert| alert.threshold).filter(|_| is_all)
    }

    /// The number that the next crossing of `level` gets.
    fn next_crossing(&self, level: &LevelName) -> u32 {
        self.crossings.get(level).copied().unwrap_or(0).saturating_add(1)
    }
}

/// The balances at which an account's alerts need nothing: no level fires, and no open alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The least of them.
    pub from: Credits,
    /// The largest of them.
    pub to: Credits,
}

/// Between which balances [`plan_alerts`] plans nothing for an account in `state`, which its levels have made.
#[must_use]
pub fn quiet(levels: &Levels, allowance: Credits, state: &AlertState) -> Quiet {
    let is_open = |level: &Level| state.open.iter().any(|alert| alert.level == level.name);
    let (open, armed): (Vec<_>, Vec<_>) = levels.ladder(allowance).into_iter().partition(|(level, _)| is_open(level));
    // A ladder falls: the first one that is armed fires first, the last one that is open is over first.
    let fires_at = armed.first().map_or(-1, |(_, threshold)| threshold.get());
    let is_over_above = open.last().map_or(Credits::LIMIT, |(_, threshold)| *threshold);
    Quiet { from: Credits::new(fires_at.saturating_add(1)), to: is_over_above }
}

/// What the alerts of an account need when `total_available` credits of both types are available at `now`.
#[must_use]
pub fn plan_alerts(
    levels: &Levels,
    allowance: Credits,
    total_available: Credits,
    state: &AlertState,
    now: Instant,
) -> AlertPlan {
    let ladder = levels.ladder(allowance);
    let rung = |name: &LevelName| ladder.iter().position(|(level, _)| level.name == *name);
    let holds = |alert: &&OpenAlert| rung(&alert.level).is_some_and(|at| total_available <= ladder[at].1);
    let (still_open, over): (Vec<&OpenAlert>, Vec<&OpenAlert>) = state.open.iter().partition(holds);

    let armed = |name: &LevelName| !still_open.iter().any(|alert| alert.level == *name);
    let opened: Vec<Opened> = ladder
        .iter()
        .filter(|(level, threshold)| total_available <= *threshold && armed(&level.name))
        .map(|(level, threshold)| Opened {
            level: level.name.clone(),
            crossing: state.next_crossing(&level.name),
            threshold: *threshold,
            opened_at: now,
        })
        .collect();

    let most_advanced_open = still_open.iter().filter_map(|alert| rung(&alert.level)).max();
    let notice = opened
        .last()
        .filter(|newest| most_advanced_open < rung(&newest.level))
        .map(|newest| Crossing { level: newest.level.clone(), crossing: newest.crossing });
    let resolved = over.into_iter().map(|a| Crossing { level: a.level.clone(), crossing: a.crossing }).collect();
    AlertPlan { opened, resolved, notice }
}

#[cfg(test)]
mod tests;
