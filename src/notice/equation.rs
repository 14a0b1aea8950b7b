//! How credits add up, as mails show it: line by line, free and purchased apart.

use super::NoticeError;
use crate::core::credits::Credits;
use crate::core::statement::{Column, FIGURES, Figures};
use serde::Serialize;

/// From so many credits on figures of a table are wide.
const WIDE: u128 = 10_000_000;

/// One line of the equation. The total is a sum of two amounts, which `i128` always holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) free: i128,
    pub(super) purchased: i128,
    pub(super) total: i128,
}

/// `carried_in` and all `changes` are `left`, column by column.
#[derive(Serialize)]
pub(super) struct Equation {
    carried_in: Row,
    /// Each with the sign that it counts with; what is 0 in both columns is left out.
    changes: Vec<Row>,
    pub(super) left: Row,
    /// Whether figures are so long that on a phone they need smaller letters.
    wide: bool,
    /// Characters of a column that holds any of them in text, with its sign.
    width: usize,
}

impl Equation {
    /// The figures of both types.
    ///
    /// # Errors
    /// [`NoticeError::DoesNotAddUp`].
    pub(super) fn of(free: &Figures, purchased: &Figures) -> Result<Equation, NoticeError> {
        let row = |(column, figure): (Column, fn(&Figures) -> Credits)| {
            let sign = if matches!(column, Column::Consumed | Column::Lapsed | Column::Returned) { -1 } else { 1 };
            let (free, purchased) = (i128::from(figure(free).get()) * sign, i128::from(figure(purchased).get()) * sign);
            Row { label: label(column), free, purchased, total: free + purchased }
        };
        let rows = FIGURES.map(row);
        let is_wide = |figure: i128| figure.unsigned_abs() >= WIDE;
        let longest = rows.iter().flat_map(|row| [row.free, row.purchased, row.total]).map(i128::unsigned_abs).max();
        let digits = longest.unwrap_or(0).checked_ilog10().unwrap_or(0) as usize + 1;
        // Some locales group by two digits.
        let width = digits + digits / 2 + "+ ".len();
        let wide = rows.iter().any(|row| is_wide(row.free) || is_wide(row.purchased) || is_wide(row.total));
        let [carried_in, changes @ .., left] = rows;
        for cell in [|row: &Row| row.free, |row: &Row| row.purchased] {
            let (changes, remaining) = (cell(&carried_in) + changes.iter().map(cell).sum::<i128>(), cell(&left));
            if changes != remaining {
                return Err(NoticeError::DoesNotAddUp { changes, remaining });
            }
        }
        let changes = changes.into_iter().filter(|row| row.free != 0 || row.purchased != 0).collect();
        Ok(Equation { carried_in, changes, left, wide, width })
    }
}

/// How a figure is called in a mail, which has no page of notes.
pub(super) const fn label(column: Column) -> &'static str {
    match column {
        Column::Lapsed => "Lapsed, unused",
        Column::Succeeded => "Actions done",
        Column::Failed => "Actions failed",
        Column::Refused => "Actions refused",
        other => other.heading(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::statement;
    use super::super::{StatementMail, sample_statement};
    use super::*;
    use crate::core::locale::Locale;

    /// However long they are, and however a locale groups them, figures stand below each other in plain text.
    #[test]
    fn long_figures_stand_below_each_other() {
        for (locale, credits) in
            [(Locale::EnIn, 900_000_000), (Locale::EnGb, 1_000_000), (Locale::DeDe, Credits::LIMIT.get())]
        {
            let mut facts = StatementMail { locale, ..sample_statement() };
            facts.said.free.allocated = Credits::new(credits);
            facts.said.free.lapsed = Credits::new(credits - 1_250);
            let message = statement(&facts);
            let table: Vec<&str> = message.text.split("\n\n").nth(1).expect("a table").lines().collect();
            let width = table[0].chars().count();
            assert!(table.iter().all(|line| line.chars().count() == width), "{}", message.text);
        }
    }
}
