//! Free text, secrets and words.

use std::marker::PhantomData;

use tracing::level_filters::LevelFilter;

use super::Kind;
use crate::config::secret::Secret;

/// Any text that is not empty and holds no control character.
pub struct Text;

impl Kind for Text {
    type Value = String;

    fn allowed() -> String {
        "text without control characters".to_owned()
    }

    fn read(text: &str) -> Option<String> {
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }
}

/// A password. Its empty form is refused rather than read as "no password": a variable that turned
/// out empty must not open the door.
pub struct Password;

impl Kind for Password {
    type Value = Option<Secret>;
    const IS_SECRET: bool = true;
    const MAY_BE_ABSENT: bool = true;

    fn allowed() -> String {
        "text that is not empty; leave the key out for no password".to_owned()
    }

    fn read(text: &str) -> Option<Self::Value> {
        (!text.is_empty()).then(|| Some(Secret::new(text)))
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
    }
}

/// One of a few words.
pub struct OneOf<W>(PhantomData<W>);

/// A type whose values have names in the configuration.
pub trait Word: Copy + 'static {
    /// Every name and what it means.
    const WORDS: &'static [(&'static str, Self)];
}

impl<W: Word> Kind for OneOf<W> {
    type Value = W;

    fn allowed() -> String {
        let words: Vec<String> = W::WORDS
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("one of {}", words.join(", "))
    }

    fn read(text: &str) -> Option<W> {
        W::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }
}

/// How a client that asks for the cluster sees it (contract: C4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterView {
    /// One node, this Keyway, which owns every slot.
    #[default]
    Single,
    /// The real nodes at their mapped addresses.
    Nodes,
}

impl Word for ClusterView {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("single", ClusterView::Single),
        ("nodes", ClusterView::Nodes),
    ];
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Word for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn words_are_exact() {
        check::<OneOf<ClusterView>>(&[
            ("single", Some(ClusterView::Single)),
            ("nodes", Some(ClusterView::Nodes)),
            ("Single", None),
            ("", None),
        ]);
        assert_eq!(OneOf::<LogFormat>::allowed(), "one of \"text\", \"json\"");
    }

    #[test]
    fn an_empty_password_is_no_password_but_a_mistake() {
        assert!(Password::read("").is_none());
        assert!(Password::read("secret").flatten().is_some());
    }
}
