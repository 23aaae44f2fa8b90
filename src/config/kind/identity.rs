//! Whose credentials go to the nodes.

use super::text::Word;

/// As whom the commands of clients go to the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityMode {
    /// As the user of `[upstream]`, or the one that its `[[users]]` table names.
    #[default]
    Service,
    /// As whom the client says to be, and the nodes say whether that is right.
    PassThrough,
}

impl Word for IdentityMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("service", IdentityMode::Service),
        ("pass-through", IdentityMode::PassThrough),
    ];
}
