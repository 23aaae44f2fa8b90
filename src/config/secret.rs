//! A value that must not be seen.

use std::fmt;
use std::hint::black_box;

/// A password. Its `Debug` and `Display` print `***`, so that it cannot slip into a log line, and
/// comparing it takes the same time wherever the first difference lies.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(bytes.into().into_boxed_slice())
    }

    /// The secret itself: for the `AUTH` that goes to a server, and nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `candidate` is the secret. The time taken depends on the candidate's length only,
    /// which whoever sent it knows already.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let mut difference = self.0.len() ^ candidate.len();
        for (index, &byte) in candidate.iter().enumerate() {
            // Past the end, compare with anything: the lengths have made the difference already.
            let own = self.0.get(index).copied().unwrap_or_default();
            difference |= usize::from(black_box(own ^ byte));
        }
        black_box(difference) == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn only_the_secret_itself_matches() {
        let secret = Secret::new("hunter2");
        for (candidate, expected) in [
            ("hunter2", true),
            ("hunter", false),
            ("hunter22", false),
            ("hunter3", false),
            ("", false),
            ("hunter2\0", false),
        ] {
            assert_eq!(
                secret.matches(candidate.as_bytes()),
                expected,
                "{candidate}"
            );
        }
    }

    #[test]
    fn it_never_shows() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
