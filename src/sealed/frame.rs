//! A frame of a file, taken apart: columns as arrays, and words that are looked at once.

use polars::prelude::*;

/// A frame, taken apart. Each column is one array.
pub(super) struct Columns {
    pub(super) accounts: StringChunked,
    pub(super) kinds: StringChunked,
    pub(super) statuses: StringChunked,
    pub(super) reasons: StringChunked,
    pub(super) names: Option<StringChunked>,
    pub(super) occurred_at: Int64Chunked,
    pub(super) free: Int64Chunked,
    pub(super) purchased: Int64Chunked,
}

impl Columns {
    pub(super) fn of(frame: &DataFrame, named: Option<&str>) -> PolarsResult<Columns> {
        let text = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.str()?.rechunk().into_owned());
        let number = |name: &str| -> PolarsResult<Int64Chunked> {
            Ok(frame.column(name)?.to_physical_repr().i64()?.rechunk().into_owned())
        };
        Ok(Columns {
            accounts: text("account_id")?,
            kinds: text("kind")?,
            statuses: text("status")?,
            reasons: text("reason")?,
            names: named.map(text).transpose()?,
            occurred_at: number("occurred_at")?,
            free: number("free_delta")?,
            purchased: number("purchased_delta")?,
        })
    }

    pub(super) fn numbers(&self) -> PolarsResult<(&[i64], &[i64], &[i64])> {
        Ok((self.occurred_at.cont_slice()?, self.free.cont_slice()?, self.purchased.cont_slice()?))
    }
}

/// The texts of a column. Each has a view: 16 bytes that hold a short text itself and of a long one where it is.
#[derive(Clone, Copy)]
pub(super) struct Views<'a>(&'a <StringType as PolarsDataType>::Array);

impl<'a> Views<'a> {
    pub(super) fn of(column: &'a StringChunked) -> Option<Views<'a>> {
        column.downcast_iter().next().map(Views)
    }

    fn view(self, row: usize) -> u128 {
        self.0.views()[row].as_u128()
    }

    pub(super) fn text(self, row: usize) -> &'a str {
        self.0.value(row)
    }

    /// The row behind those that follow `row` with the same view.
    pub(super) fn end_of_run(self, row: usize) -> usize {
        let view = self.0.views()[row];
        let same = self.0.views()[row..].iter().take_while(|other| other.as_u128() == view.as_u128());
        row + same.count()
    }
}

/// A column of texts that come again and again. A text is looked at once, and known afterwards by its view.
pub(super) struct Texts<'a, T> {
    views: Views<'a>,
    /// The same array where some are NULL.
    nulls: Option<&'a ArrayRef>,
    is_all_null: bool,
    /// The texts that came last, of those that share a slot.
    known: [Option<(u128, T)>; SLOTS],
}

/// Slots in which texts are found again: a few times the actions that there are. A power of two.
const SLOTS: usize = 256;

impl<'a, T: Copy> Texts<'a, T> {
    pub(super) fn of(column: &'a StringChunked) -> Option<Texts<'a, T>> {
        let views = Views::of(column)?;
        let nulls = column.chunks().first().filter(|_| column.null_count() > 0);
        let is_all_null = column.null_count() == column.len();
        Some(Texts { views, nulls, is_all_null, known: [None; SLOTS] })
    }

    /// What the text of a row stands for; `None` for NULL.
    pub(super) fn get(&mut self, row: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        if self.is_all_null || self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let view = self.views.view(row);
        let known = &mut self.known[slot_of(view)];
        match known {
            Some((text, value)) if *text == view => Some(*value),
            _ => Some(known.insert((view, read(self.views.text(row)))).1),
        }
    }
}

/// One of [`SLOTS`].
#[expect(clippy::cast_possible_truncation, reason = "halves, and the highest bits alone")]
const fn slot_of(view: u128) -> usize {
    let mixed = (view as u64 ^ (view >> u64::BITS) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}
