//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate with the fewest letters to change, if that is few enough to be a likely meaning.
pub(super) fn nearest<'a>(
    wrong: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong_lower = wrong.to_lowercase();
    candidates
        .map(|candidate| (distance(&wrong_lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).max(2))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (left_index, left_char) in left.chars().enumerate() {
        let mut diagonal = left_index;
        row[0] = left_index + 1;
        for (index, right_char) in right.iter().enumerate() {
            let substitute = diagonal + usize::from(left_char != *right_char);
            diagonal = row[index + 1];
            row[index + 1] = substitute.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_is_not() {
        let names = ["KEYWAY_SEEDS", "KEYWAY_LISTEN", "KEYWAY_WORKERS"];
        for (wrong, expected) in [
            ("KEYWAY_SEED", Some("KEYWAY_SEEDS")),
            ("keyway_seeds", Some("KEYWAY_SEEDS")),
            ("KEYWAY_WORKRES", Some("KEYWAY_WORKERS")),
            ("SOMETHING_ELSE_ALTOGETHER", None),
        ] {
            assert_eq!(nearest(wrong, names.into_iter()), expected, "{wrong}");
        }
    }

    #[test]
    fn distances_count_single_changes() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
