//! Which slot a `SCAN ... MATCH pattern` can find anything in.

use crate::cluster::Slot;
use crate::resp::Args;

/// The only slot whose keys can match the request's pattern, if its pattern allows one only: it
/// names a whole hash tag before its first special character, or has no special character at all
/// (contract: M5).
pub fn pinned_slot(args: &Args<'_>) -> Option<Slot> {
    slot_of_pattern(match_pattern(args)?)
}

/// The pattern that counts, which is the last. Options that SCAN does not have are the server's to
/// refuse, wherever the request goes.
fn match_pattern<'a>(args: &Args<'a>) -> Option<&'a [u8]> {
    let mut pattern = None;
    for index in (2..args.len()).step_by(2) {
        if args.get(index)?.eq_ignore_ascii_case(b"MATCH") {
            pattern = Some(args.get(index + 1)?);
        }
    }
    pattern
}

fn slot_of_pattern(pattern: &[u8]) -> Option<Slot> {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let literal_len = pattern.iter().position(is_special);
    let literal = &pattern[..literal_len.unwrap_or(pattern.len())];
    if literal_len.is_none() {
        return Some(Slot::of_key(literal));
    }
    let open = memchr::memchr(b'{', literal)?;
    let tag_len = memchr::memchr(b'}', literal.get(open + 1..)?)?;
    // After `{}` the whole key counts, of which a pattern tells only the beginning.
    (tag_len > 0).then(|| Slot::of_key(literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: M5
    #[test]
    fn a_tag_before_the_first_special_character_pins_the_slot() {
        for (pattern, key) in [
            ("{tag}*", Some("tag")),
            ("a{tag}:?", Some("tag")),
            ("a}b{tag}*", Some("tag")),
            ("{{x}*", Some("{x")),
            ("{tag}{other}*", Some("tag")),
            ("exact", Some("exact")),
            ("", Some("")),
            ("*", None),
            ("{tag*}", None),
            ("*{tag}", None),
            ("{}*", None),
            ("{}{tag}*", None),
            ("\\{tag}*", None),
            ("[{]tag}*", None),
            ("tag*", None),
        ] {
            assert_eq!(
                slot_of_pattern(pattern.as_bytes()),
                key.map(|key| Slot::of_key(key.as_bytes())),
                "{pattern}"
            );
        }
    }
}
