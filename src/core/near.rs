//! What was probably meant by a name that is none.

/// The candidate most like `wanted`, when one is like it at all: a misspelling, or a key of another section.
#[must_use]
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let distance = |candidate: &'a str| {
        let whole = edits(&wanted.to_ascii_lowercase(), &candidate.to_ascii_lowercase());
        let name = edits(&last(wanted), &last(candidate));
        let near = whole <= (wanted.len() / 4).max(2);
        let near_elsewhere = name <= last(wanted).len() / 4;
        (near || near_elsewhere).then_some((whole.min(name + 1), candidate))
    };
    candidates.into_iter().filter_map(distance).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between two texts (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["credits.monthly_allowance", "mail.dir", "mail.from"];
        let near = |wanted| nearest(wanted, known);
        assert_eq!(near("credits.montly_allowance"), Some("credits.monthly_allowance"));
        assert_eq!(near("monthly_allowance"), Some("credits.monthly_allowance"));
        assert_eq!(near("mail.form"), Some("mail.from"));
        assert_eq!(near("montly_allowance"), Some("credits.monthly_allowance"));
        assert_eq!(near("smtp.password"), None);
        assert_eq!(near("smtp.host"), None);
    }
}
