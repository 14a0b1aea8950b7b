//! Rows of tables, as people read them.

use crate::core::calendar::{Calendar, Instant};
use crate::core::credits::Credits;
use crate::core::ids::printable;
use crate::core::ledger::FREE;
use crate::core::locale::Locale;
use crate::core::price::{Action, PriceMatrix};
use crate::core::statement::{Counts, FIGURES, Figures, Line, LineType, Outcome};
use crate::core::transaction::{Kind, Reason, Touched, Transaction, touched};
use crate::notice::words::{month_title, shorten};
use crate::report::EQUATION;
use chrono_tz::Tz;
use serde::Serialize;

/// Characters of the title of an action among others.
const TITLE_CHARS_MAX: usize = 60;

/// A row of the log.
#[derive(Serialize)]
pub(super) struct RowView {
    /// For machines.
    iso: String,
    date: String,
    time: String,
    user: String,
    /// What became of the action, where that is no charge.
    done: Option<&'static str>,
    /// How many, where there were several.
    times: Option<String>,
    /// What it was: an action, or words of ours.
    what: String,
    credits: String,
    is_gain: bool,
    credit_type: &'static str,
    comment: String,
    status: &'static str,
    reason: Option<&'static str>,
    /// Of its look: `done`, `failed` or `refused`.
    tone: &'static str,
}

/// Who shows figures, and how: the locale of an account, the titles of actions.
pub(super) struct Teller<'a> {
    pub locale: Locale,
    pub calendar: &'a Calendar,
    pub prices: &'a PriceMatrix,
}

impl Teller<'_> {
    /// `row` as a row of a table.
    pub fn row(&self, row: &Transaction) -> RowView {
        let at = row.occurred_at;
        let local = at.in_zone(self.calendar.zone_at(at));
        let title = row
            .action
            .as_ref()
            .map(|code| self.prices.get(code).map_or_else(|| code.to_string(), |action| printable(&action.title)));
        let credits = row.delta.total();
        let outcome = Outcome::of(row.kind, row.status, row.reason);
        let (status, tone) = match outcome {
            Outcome::Failed => ("Failed", "failed"),
            Outcome::Refused => ("Refused", "refused"),
            Outcome::Succeeded | Outcome::NotAnAction => ("Done", "done"),
        };
        RowView {
            iso: at.to_string(),
            date: self.locale.date(local.date_naive()),
            time: local.format("%H:%M:%S").to_string(),
            user: row.user.as_ref().map(|user| printable(user.as_str())).unwrap_or_default(),
            done: title.as_ref().and_then(|_| done(row.kind)),
            what: title.unwrap_or_else(|| what(row)),
            times: (row.quantity > 1).then(|| format!("{} ×", self.locale.number(row.quantity))),
            credits: if row.kind.moves_credits() { signed(self.locale, credits) } else { "–".to_owned() },
            is_gain: credits > Credits::ZERO,
            credit_type: match touched(row.delta) {
                Touched::None if !row.kind.moves_credits() => "–",
                type_of => type_of.as_str(),
            },
            comment: comment(row),
            status,
            reason: row.reason.map(reason),
            tone,
        }
    }

    /// A number of credits.
    pub fn credits(&self, credits: Credits) -> String {
        self.locale.number(credits.get()).replace('-', "−")
    }
}

/// A change with its sign; nothing that moved is 0.
fn signed(locale: Locale, credits: Credits) -> String {
    locale.signed(credits.get()).replace('-', "−")
}

/// What an action is called where it is one of many.
pub(super) fn action_name(action: &Action) -> String {
    let title = printable(&shorten(&action.title, TITLE_CHARS_MAX));
    if title.is_empty() { action.code.to_string() } else { title }
}

/// What became of an action.
const fn done(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Hold => Some("Held"),
        Kind::Release => Some("Released"),
        Kind::Refund => Some("Refund"),
        _ => None,
    }
}

/// The comment of a row. Of rows of ours it begins with the name of a grant, which is a word for programs: of a month's free
/// credits it is that of the month, of a bonus its key.
fn comment(row: &Transaction) -> String {
    let comment = printable(&row.comment);
    let of_bonus = || {
        let key = comment.strip_prefix("bonus:")?.strip_suffix(" lapsed").filter(|_| row.kind == Kind::Expiry)?;
        Some(format!("Bonus “{key}” lapsed"))
    };
    let of_month = || {
        let named = comment.strip_prefix(FREE).filter(|_| matches!(row.kind, Kind::Allocation | Kind::Expiry))?;
        let (month, rest) = named.split_at_checked("2013-03".len())?;
        Some(format!("{}{rest}", month_title(month.parse().ok()?)))
    };
    of_month().or_else(of_bonus).unwrap_or(comment)
}

/// What a row is, in words.
fn what(row: &Transaction) -> String {
    let month = row.reference.as_ref().and_then(|month| month.as_str().parse().ok());
    let month = month.map_or_else(|| "Month".to_owned(), month_title);
    match row.kind {
        Kind::Charge => "Charge".to_owned(),
        Kind::Hold => "Held".to_owned(),
        Kind::Release => "Released".to_owned(),
        Kind::Refund => "Refund".to_owned(),
        Kind::Allocation => "Monthly free credits".to_owned(),
        Kind::Purchase => "Credits bought".to_owned(),
        Kind::Bonus => "Bonus".to_owned(),
        Kind::Expiry => "Unused credits lapsed".to_owned(),
        Kind::Return => "Credits returned".to_owned(),
        Kind::Adjustment => "Correction".to_owned(),
        Kind::Terms => "Terms changed".to_owned(),
        Kind::Cap => "Cap of a user changed".to_owned(),
        Kind::Closing => "Account closed".to_owned(),
        Kind::Reopening => "Account opened again".to_owned(),
        Kind::MonthClose => format!("{month} closed"),
        Kind::MonthReopen => format!("{month} opened again"),
    }
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::UserCap => "the user’s monthly cap",
        Reason::InsufficientCredits => "not enough credits",
    }
}

/// Characters of figures, three of which have room on a phone beside their name.
const LONG_FIGURE: usize = 9;

/// Whether a figure has no room on a phone where others have it.
pub(super) fn is_long(figure: &str) -> bool {
    figure.chars().count() > LONG_FIGURE
}

/// A line of the equation of a statement.
#[derive(Clone, Serialize)]
pub(super) struct EquationRow {
    sign: &'static str,
    name: &'static str,
    meaning: &'static str,
    free: String,
    purchased: String,
    total: String,
    is_zero: bool,
    /// A figure is so long that a phone has no room for three beside their name.
    is_long: bool,
    /// It begins or ends the equation.
    is_bound: bool,
}

/// The equation of a triple of lines, read downwards. The rows in which nothing happened are left out where that is wished.
pub(super) fn equation(triple: &[Line], locale: Locale, has_zeros: bool) -> Vec<EquationRow> {
    let figures = |of| triple.iter().find(|line| line.credit_type == of).map(|line| line.figures).unwrap_or_default();
    equation_of(&figures(LineType::Free), &figures(LineType::Purchased), locale, has_zeros)
}

/// The same of figures.
pub(super) fn equation_of(free: &Figures, purchased: &Figures, locale: Locale, has_zeros: bool) -> Vec<EquationRow> {
    let rows = EQUATION.iter().zip(FIGURES).enumerate().map(|(at, ((column, sign, meaning), (_, figure)))| {
        let (free, purchased) = (i128::from(figure(free).get()), i128::from(figure(purchased).get()));
        let shown = |number: i128| locale.number(number).replace('-', "−");
        let [free_shown, purchased_shown, total] = [free, purchased, free + purchased].map(shown);
        EquationRow {
            sign,
            name: column.heading(),
            meaning,
            is_long: [&free_shown, &purchased_shown, &total].iter().any(|figure| is_long(figure)),
            free: free_shown,
            purchased: purchased_shown,
            total,
            is_zero: free == 0 && purchased == 0,
            is_bound: at == 0 || at + 1 == EQUATION.len(),
        }
    });
    rows.filter(|row| has_zeros || row.is_bound || !row.is_zero || row.name == "Allocated" || row.name == "Consumed")
        .collect()
}

/// How actions ended, in words: `42 actions: 40 succeeded, 2 refused`.
pub(super) fn counts_said(counts: Counts, locale: Locale) -> String {
    let Counts { succeeded, failed, refused } = counts;
    let all = succeeded.saturating_add(failed).saturating_add(refused);
    let parts: Vec<String> = [(succeeded, "succeeded"), (failed, "failed"), (refused, "refused")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", locale.number(count)))
        .collect();
    match all {
        0 => "No actions".to_owned(),
        all => format!("{} {}: {}", locale.number(all), if all == 1 { "action" } else { "actions" }, parts.join(", ")),
    }
}

/// `19 March 2026, 14:00`, by the clock of `zone`, and for machines.
#[derive(Serialize)]
pub(super) struct When {
    iso: String,
    text: String,
}

impl When {
    pub fn new(at: Instant, zone: Tz, locale: Locale) -> When {
        When { iso: at.to_string(), text: crate::notice::words::moment(at, zone, locale) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_named_in_little_room() {
        let named = |title: &str| {
            let code = "erase".parse().expect("a code");
            action_name(&Action { code, title: title.to_owned(), help: String::new(), versions: Vec::new() })
        };
        assert_eq!(named("  Erase\n an   object "), "Erase an object");
        assert_eq!(named(" \t"), "erase");
        let long = named(&"very ".repeat(40));
        assert!(long.chars().count() <= TITLE_CHARS_MAX && long.ends_with("very…"), "{long}");
    }
}
