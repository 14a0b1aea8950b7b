//! Files of a row per record, made piece by piece: several threads make pieces while those before them are written. The bytes
//! are the same whoever makes them, and no more than a few pieces are in memory.

use super::{Broke, Rendered};
use crate::core::statement::{Record, ReportModel};
use std::io::Write;
use std::sync::mpsc;

/// Triples of lines, or transactions of a log, of one piece: about a megabyte of CSV.
const PIECE: usize = 8_192;
/// Threads that make pieces. More would wait for whoever takes the bytes.
const MAKERS_MAX: usize = 4;
/// Pieces that each of them makes ahead.
const AHEAD: usize = 1;

/// Writes what `make` makes of the records of `model`, in their order.
pub(super) fn write(
    model: &ReportModel,
    out: &mut dyn Write,
    make: impl Fn(&mut dyn Iterator<Item = Record<'_>>) -> Rendered + Sync,
) -> Result<(), Broke> {
    let pieces = model.piece_count(PIECE);
    let makers = std::thread::available_parallelism().map_or(1, usize::from).min(MAKERS_MAX).min(pieces);
    let make = &make;
    std::thread::scope(|scope| {
        let begin = |first: usize| {
            let (send, made) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || {
                // Whoever takes no more pieces drops the other end.
                (first..pieces).step_by(makers).try_for_each(|at| send.send(make(&mut model.piece(at, PIECE))))
            });
            made
        };
        let made: Vec<mpsc::Receiver<Rendered>> = (0..makers).map(begin).collect();
        for from in made.iter().cycle().take(pieces) {
            let piece = from.recv().map_err(|_| "making a piece of it ended in a panic")?;
            out.write_all(&piece?)?;
        }
        Ok(())
    })
}
