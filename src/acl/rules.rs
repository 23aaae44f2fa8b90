//! Rules as text: how they are split, and what can be wrong with one. The texts are the servers'.

use thiserror::Error;

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// `+nosuch`, `+@nosuch`
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// It is no rule at all.
    #[error("Syntax error")]
    Syntax,
    /// `~* ~more`
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
         effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    /// `&* &more`
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
         effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    /// `<password` that the user has not.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#` and no hash behind it.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    Hash,
    /// `+config|get|x`
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
    /// `(+get ~a`
    #[error("Unmatched parenthesis in acl selector")]
    Parenthesis,
}

/// Splits a line of rules at spaces. A selector in parentheses is one rule, however many spaces it has.
///
/// # Errors
/// A parenthesis that is not closed.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, RuleError> {
    let words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    join_selectors(words)
}

/// Makes one rule of each selector whose words came apart.
///
/// # Errors
/// A parenthesis that is not closed.
pub fn join_selectors<'a>(
    words: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Vec<u8>>, RuleError> {
    let mut rules = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for word in words {
        open = match open {
            None if word.starts_with(b"(") && !word.ends_with(b")") => Some(word.to_vec()),
            None => {
                rules.push(word.to_vec());
                None
            }
            Some(mut selector) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    rules.push(selector);
                    None
                } else {
                    Some(selector)
                }
            }
        };
    }
    match open {
        Some(_) => Err(RuleError::Parenthesis),
        None => Ok(rules),
    }
}

/// A rule as an error message or a log line may show it: without a password.
pub fn shown(rule: &[u8]) -> String {
    match rule.first() {
        Some(sign @ (b'>' | b'<' | b'#' | b'!')) => format!("{}***", char::from(*sign)),
        _ => rule.escape_ascii().to_string(),
    }
}

/// Names, keys and channels of rules hold neither spaces nor NUL.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_one_rule() {
        for (line, expected) in [
            ("", Some(&[][..])),
            (" on  >p ", Some(&["on", ">p"])),
            ("on (+get ~a)  (+set)", Some(&["on", "(+get ~a)", "(+set)"])),
            ("(+get", None),
            ("( +get ~a )", Some(&["( +get ~a )"])),
        ] {
            let rules = split(line.as_bytes()).ok();
            let expected = expected.map(|rules| {
                rules
                    .iter()
                    .map(|rule| rule.as_bytes().to_vec())
                    .collect::<Vec<_>>()
            });
            assert_eq!(rules, expected, "{line}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (rule, expected) in [(">secret", ">***"), ("#abc", "#***"), ("+get", "+get")] {
            assert_eq!(shown(rule.as_bytes()), expected);
        }
    }
}
