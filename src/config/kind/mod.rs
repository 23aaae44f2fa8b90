//! The kinds of values: how each is read from text and what it may be.
//!
//! A kind is a type without values that names a way of reading; several kinds may produce the same
//! Rust type ([`Count`] and [`Bytes`] both give a `usize`). The text comes from the file, the
//! environment or the default, and is read in the same way from all three.

mod compatibility;
mod identity;
mod number;
mod place;
mod reads;
mod text;
mod tls;

use std::marker::PhantomData;

pub use compatibility::{CrossSlotBlocking, CrossSlotReads, CrossSlotTransactions};
pub use identity::IdentityMode;
pub use number::{Bytes, Count, Time, Workers};
pub use place::{FilePath, HostAndPort, HostPort, ListenAddress, Mode, Network, SocketPath};
pub use reads::{PolicyByName, ReadPolicy, fits_pattern};
pub use text::{ClusterView, LogFormat, OneOf, Password, Text};
pub use tls::{ServerNameRule, Switch, TlsAuthClients, TlsClientUser, TlsServerName, TlsVersion};

use super::key::Shape;

/// A way of reading a value.
pub trait Kind {
    /// What it gives.
    type Value;
    /// How it is written in TOML.
    const SHAPE: Shape = Shape::Text;
    /// Whether the value must not be shown.
    const IS_SECRET: bool = false;
    /// Whether a key of this kind may go without value and default; `absent` then gives one.
    const MAY_BE_ABSENT: bool = false;
    /// What may be written, completing "allowed is ...".
    fn allowed() -> String;
    /// Reads it; `None` when it is not allowed.
    fn read(text: &str) -> Option<Self::Value>;
    /// The value when nobody gives one and no default exists; `None` unless `MAY_BE_ABSENT`.
    fn absent() -> Option<Self::Value> {
        None
    }
}

/// May be left out, or be empty.
pub struct Optional<K>(PhantomData<K>);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;
    const SHAPE: Shape = K::SHAPE;
    const IS_SECRET: bool = K::IS_SECRET;
    const MAY_BE_ABSENT: bool = true;

    fn allowed() -> String {
        format!("{}, or \"\" for none", K::allowed())
    }

    fn read(text: &str) -> Option<Self::Value> {
        if text.is_empty() {
            return Some(None);
        }
        K::read(text).map(Some)
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
    }
}

/// Several values, separated by commas in the environment; at least one.
pub struct List<K>(PhantomData<K>);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        format!(
            "a list (in the environment comma-separated) of {}",
            K::allowed()
        )
    }

    fn read(text: &str) -> Option<Self::Value> {
        text.split(',').map(|part| K::read(part.trim())).collect()
    }
}

/// The same, and there may be none.
pub struct Several<K>(PhantomData<K>);

impl<K: Kind> Kind for Several<K> {
    type Value = Vec<K::Value>;
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        format!("{}, or none", List::<K>::allowed())
    }

    fn read(text: &str) -> Option<Self::Value> {
        match text.trim() {
            "" => Some(Vec::new()),
            _ => List::<K>::read(text),
        }
    }
}

/// Pairs of texts, in the order given. What they mean is checked where they are used.
pub struct Pairs;

impl Kind for Pairs {
    type Value = Vec<(String, String)>;
    const SHAPE: Shape = Shape::Map;

    fn allowed() -> String {
        "a table of \"from\" = \"to\" (in the environment from=to,from=to)".to_owned()
    }

    fn read(text: &str) -> Option<Self::Value> {
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        text.split(',')
            .map(|pair| {
                let (from, to) = pair.split_once('=')?;
                let (from, to) = (from.trim(), to.trim());
                (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
            })
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads the text as this kind and compares.
    pub(super) fn check<K: Kind>(cases: &[(&str, Option<K::Value>)])
    where
        K::Value: PartialEq + std::fmt::Debug,
    {
        for (text, expected) in cases {
            assert_eq!(&K::read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pairs_keep_their_order() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        check::<Pairs>(&[
            ("", Some(vec![])),
            ("b=1,a=2", Some(vec![pair("b", "1"), pair("a", "2")])),
            (" [::1]:1 = h:2 ", Some(vec![pair("[::1]:1", "h:2")])),
            ("a", None),
            ("a=", None),
            ("=b", None),
            ("a=b,", None),
        ]);
    }
}
