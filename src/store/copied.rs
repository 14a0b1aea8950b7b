//! Rows as COPY hands them out in its binary form: cells are looked at where they came in, and none is copied on the way.

use super::bulk::Line;
use super::{Result, StoreError};
use std::ops::Range;

/// What a copy begins with; flags and the length of what may follow come behind it.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Takes rows out of what comes, which may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    /// Where in `bytes` the next row begins.
    at: usize,
    has_begun: bool,
    /// Where in `bytes` the cells of the newest row are; `None` for NULL.
    cells: Vec<Option<Range<usize>>>,
}

/// A row of it.
#[derive(Debug)]
pub(super) struct Copied<'a> {
    bytes: &'a [u8],
    cells: &'a [Option<Range<usize>>],
}

impl Decoder {
    /// Adds what came.
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(chunk);
    }

    /// The next row, if all of it has come and it was not the last.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is no copy.
    pub fn next(&mut self) -> Result<Option<Copied<'_>>> {
        let mut at = self.at;
        if !self.has_begun {
            at += SIGNATURE.len() + 4;
            let Some(more) = self.int(&mut at) else { return Ok(None) };
            if !self.bytes[self.at..].starts_with(SIGNATURE) {
                return Err(StoreError::Corrupt("what COPY handed out does not begin as it does".to_owned()));
            }
            at += usize::try_from(more).unwrap_or(0);
            if at > self.bytes.len() {
                return Ok(None);
            }
            (self.has_begun, self.at) = (true, at);
        }
        let Some(count) = self.bytes.get(at..at + 2) else { return Ok(None) };
        // Behind the last row stands -1.
        let Ok(count) = usize::try_from(i16::from_be_bytes([count[0], count[1]])) else { return Ok(None) };
        at += 2;
        self.cells.clear();
        for _ in 0..count {
            let Some(length) = self.int(&mut at) else { return Ok(None) };
            let Ok(length) = usize::try_from(length) else {
                self.cells.push(None);
                continue;
            };
            if at + length > self.bytes.len() {
                return Ok(None);
            }
            self.cells.push(Some(at..at + length));
            at += length;
        }
        self.at = at;
        Ok(Some(Copied { bytes: &self.bytes, cells: &self.cells }))
    }

    /// The number at `at`, which moves on.
    fn int(&self, at: &mut usize) -> Option<i32> {
        let bytes = self.bytes.get(*at..*at + 4)?.try_into().ok()?;
        *at += 4;
        Some(i32::from_be_bytes(bytes))
    }
}

impl Copied<'_> {
    fn cell(&self, at: usize) -> Option<&[u8]> {
        self.bytes.get(self.cells.get(at)?.clone()?)
    }
}

impl Line for Copied<'_> {
    fn int(&self, at: usize) -> i64 {
        match self.cell(at) {
            Some(&[a, b]) => i16::from_be_bytes([a, b]).into(),
            Some(&[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]).into(),
            Some(cell) => cell.try_into().map_or(0, i64::from_be_bytes),
            None => 0,
        }
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.cell(at).and_then(|cell| std::str::from_utf8(cell).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Cells = (Option<i64>, Option<String>);

    fn copy(rows: &[Cells], more: usize) -> Vec<u8> {
        let length = |length: usize| i32::try_from(length).expect("short").to_be_bytes();
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 4]);
        bytes.extend(length(more));
        bytes.extend(vec![7; more]);
        for (number, text) in rows {
            bytes.extend(2_i16.to_be_bytes());
            for cell in [number.map(|number| number.to_be_bytes().to_vec()), text.clone().map(String::into_bytes)] {
                match cell {
                    None => bytes.extend((-1_i32).to_be_bytes()),
                    Some(cell) => {
                        bytes.extend(length(cell.len()));
                        bytes.extend(cell);
                    }
                }
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn rows_are_the_same_wherever_they_are_cut(
            rows in prop::collection::vec(any::<Cells>(), 0..6), more in 0_usize..3, size in 1_usize..40,
        ) {
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for chunk in copy(&rows, more).chunks(size) {
                decoder.push(chunk);
                while let Some(row) = decoder.next().expect("a copy") {
                    found.push((row.cells[0].is_some().then(|| row.int(0)), row.text(1).map(str::to_owned)));
                }
            }
            prop_assert_eq!(found, rows);
        }
    }

    #[test]
    fn something_else_is_no_copy() {
        let mut decoder = Decoder::default();
        decoder.push(b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n");
        assert!(matches!(decoder.next(), Err(StoreError::Corrupt(_))));
    }
}
