//! Patterns of channels, as the servers match them (`stringmatchlen` without case folding).
//!
//! `*` any bytes, `?` one byte, `[abc]` `[a-z]` `[^a]` one of these bytes, `\` takes the next byte as it
//! is. Two oddities are kept: nothing but the empty pattern matches the empty text, and a class that
//! is not closed ends with the pattern.

/// Whether the whole text fits the pattern. Takes at most as many steps as the product of the two
/// lengths.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read) = (0, 0);
    // Behind the last star, and where the text it swallowed ends.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(read) {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
        } else if let Some(next) = step(pattern, at, byte) {
            at = next;
            read += 1;
        } else if let Some((behind, swallowed)) = star {
            at = behind;
            read = swallowed + 1;
            star = Some((behind, read));
        } else {
            return false;
        }
    }
    pattern
        .get(at..)
        .is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Whether some text that begins with `prefix` fits the pattern.
pub fn reaches(pattern: &[u8], prefix: &[u8]) -> bool {
    let mut at = 0;
    for byte in prefix {
        if pattern.get(at) == Some(&b'*') {
            return true;
        }
        match step(pattern, at, *byte) {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

/// The place behind the element at `at`, which is no star, if the byte fits it.
fn step(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let (fits, next) = class(pattern, at + 1, byte);
            fits.then_some(next)
        }
        b'\\' => match pattern.get(at + 1) {
            Some(next) => (*next == byte).then_some(at + 2),
            None => (byte == b'\\').then_some(at + 1),
        },
        plain => (*plain == byte).then_some(at + 1),
    }
}

/// Whether a byte is in the class whose inside begins at `at`, and the place behind the class.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> (bool, usize) {
    let is_negated = pattern.get(at) == Some(&b'^');
    if is_negated {
        at += 1;
    }
    let mut is_in = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', escaped, ..] => {
                is_in |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (low, high) = (start.min(end), start.max(end));
                is_in |= (low..=high).contains(&&byte);
                at += 3;
            }
            [plain, ..] => {
                is_in |= *plain == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The servers' own recursion, written down plainly.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                slow(&pattern[1..], text) || (!text.is_empty() && slow(pattern, &text[1..]))
            }
            (Some(_), Some(byte)) => {
                step(pattern, 0, *byte).is_some_and(|next| slow(&pattern[next..], &text[1..]))
            }
            _ => false,
        }
    }

    /// Verdicts of a server (`PSUBSCRIBE`, `PUBLISH`). contract: S1
    #[test]
    fn what_a_server_matches() {
        for (pattern, text, expected) in [
            ("news.*", "news.art", true),
            ("news.*", "news", false),
            ("*", "a", true),
            ("*", "", false),
            ("", "", true),
            ("**", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1b2", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]x", "]x", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("a[", "ab", false),
            ("a[^", "ab", true),
            ("a[b", "ab", true),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    /// contract: S3
    #[test]
    fn patterns_that_reach_notifications() {
        for (pattern, expected) in [
            ("*", true),
            ("__key*", true),
            ("__key*__:*", true),
            ("__keyspace@0__:foo", true),
            ("__keyspace@*__:*", true),
            ("?_keyspace@0__:x", true),
            ("[_a]_keyspace@*", true),
            ("__keyspace", false),
            ("__keyevent@*", false),
            ("news.*", false),
            ("", false),
        ] {
            assert_eq!(
                reaches(pattern.as_bytes(), b"__keyspace@"),
                expected,
                "{pattern}"
            );
        }
    }

    proptest! {
        #[test]
        fn fast_is_slow(pattern in "[ab*?^\\\\\\[\\]-]{0,8}", text in "[ab^\\]-]{1,8}") {
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                slow(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn what_matches_is_reached(pattern in "[ab*?\\[\\]-]{0,8}", text in "[ab-]{1,8}") {
            if matches(pattern.as_bytes(), text.as_bytes()) {
                for len in 0..text.len() {
                    prop_assert!(reaches(pattern.as_bytes(), &text.as_bytes()[..len]));
                }
            }
        }
    }
}
