//! Progress of long work: a bar on stderr when a person watches, nothing otherwise.
//!
//! Work does not know of bars: it calls `&mut dyn FnMut(u64, Option<u64>)` with what is done and, when known, the
//! total. [`Progress::report`] is such a function.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that is drawn at most this often: enough for the eye, too little to slow the work.
const DRAWS_PER_SECOND_MAX: u8 = 10;

/// A bar for one piece of work; it disappears when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar named `label`. It is silent when stderr is no terminal.
    #[must_use]
    pub fn new(label: &'static str) -> Progress {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND_MAX);
        Progress { bar: ProgressBar::with_draw_target(None, target).with_message(label) }
    }

    /// A bar that nobody sees (`--quiet`).
    #[must_use]
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden() }
    }

    /// Shows that `done` of `total` are done; the total may become known, or grow, later.
    pub fn set(&self, done: u64, total: Option<u64>) {
        if self.bar.length() != total {
            let template = match total {
                Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
                None => "{msg} {human_pos} {elapsed}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
        }
        self.bar.set_position(done);
    }

    /// The function that work calls.
    pub fn report(&self) -> impl FnMut(u64, Option<u64>) + Send + '_ {
        |done, total| self.set(done, total)
    }
}

impl Drop for Progress {
    /// Leaves no half-drawn line behind, also when the work fails.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_reports_without_knowing_of_bars() {
        fn work(report: &mut dyn FnMut(u64, Option<u64>)) {
            report(1, None);
            report(2, Some(3));
        }
        let progress = Progress::hidden();
        work(&mut progress.report());
        assert_eq!((progress.bar.position(), progress.bar.length()), (2, Some(3)));
    }

    #[test]
    fn the_templates_are_valid() {
        let progress = Progress::hidden();
        progress.set(5, Some(10));
        progress.set(6, None);
        assert_eq!((progress.bar.position(), progress.bar.length()), (6, None));
    }
}
