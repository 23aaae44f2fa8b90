//! The limit of open files, which is the limit of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What came of raising the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit {
    /// File descriptors that may be open; `None` for any number.
    pub allowed: Option<u64>,
    /// File descriptors that were asked for.
    pub needed: u64,
}

impl FileLimit {
    /// Whether what was asked for fits.
    pub fn is_enough(&self) -> bool {
        self.allowed.is_none_or(|allowed| allowed >= self.needed)
    }
}

/// Raises the soft limit of open files to the hard one and compares with what is needed. Never
/// lowers anything; a refusal by the system leaves the limit as it was, and the answer says so.
pub fn raise_file_limit(needed: u64) -> FileLimit {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        // The answer is read back below, whatever this says.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: before.maximum,
                maximum: before.maximum,
            },
        );
    }
    FileLimit {
        allowed: getrlimit(Resource::Nofile).current,
        needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let limit = raise_file_limit(1);
        assert!(limit.is_enough());
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
    }

    #[test]
    fn enough_means_at_least_as_many() {
        for (allowed, needed, expected) in [
            (Some(10), 10, true),
            (Some(9), 10, false),
            (None, u64::MAX, true),
        ] {
            assert_eq!(FileLimit { allowed, needed }.is_enough(), expected);
        }
    }
}
