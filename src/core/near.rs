//! What was probably meant by a name that is none.

/// The candidate most like `wanted`, when one is like it at all: a misspelling, or a key of another section.
#[must_use]
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let distance = |candidate: &'a str| {
        let whole = edits(&wanted.to_ascii_lowercase(), &candidate.to_ascii_lowercase());
        let name = edits(&last(wanted), &last(candidate));
        let near = whole <= (wanted.len() / 4).max(2) && whole * 2 <= candidate.len();
        let near_elsewhere = name <= last(wanted).len() / 4;
        (near || near_elsewhere).then_some((whole.min(name + 1), candidate))
    };
    candidates.into_iter().filter_map(distance).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two texts (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().collect());
    let (mut before, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != y);
            let is_swap = i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y;
            let swapped = if is_swap { before[j - 1] + 1 } else { replaced };
            next.push(replaced.min(swapped).min(row[j + 1] + 1).min(next[j] + 1));
        }
        before = std::mem::replace(&mut row, next);
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
        let forms = ["csv", "day", "png", "last-month", "xlsx"];
        let near = |wanted| nearest(wanted, forms);
        for (wanted, meant) in [("cvs", "csv"), ("dya", "day"), ("LAST-MONTH", "last-month"), ("xls", "xlsx")] {
            assert_eq!(near(wanted), Some(meant), "{wanted}");
        }
        assert_eq!((near("pdf"), near("c"), near("")), (None, None, None), "hardly alike");
    }
}
