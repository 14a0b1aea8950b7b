//! Errors with what caused them.

use std::error::Error;

/// What `error` says, and what each error below it does: many only say what was being done.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| Error::source(*error));
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn every_cause_is_told() {
        let cause = |text, below: Option<Told>| Told(text, below.map(Box::new));
        let error = cause("asking failed", Some(cause("no connection", Some(cause("refused", None)))));
        assert_eq!(with_causes(&error), "asking failed: no connection: refused");
        assert_eq!(with_causes(&cause("alone", None)), "alone");
    }
}
