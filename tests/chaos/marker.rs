//! What is written into every value, so that wherever a value is seen, in a reply or in a node's log, it
//! says which write it came from.

/// One write: of which key, which version of it, and by whom (where several write).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Marker {
    /// The key's number.
    pub key: u32,
    /// Grows with each write of the key.
    pub version: u32,
    /// Tells attempts at the same version apart, where several clients write a key.
    pub attempt: u32,
}

impl Marker {
    /// As it stands at the beginning of a value: `<key:version:attempt>`.
    pub fn text(self) -> String {
        format!("<{}:{}:{}>", self.key, self.version, self.attempt)
    }

    /// The marker that this begins with.
    pub fn parse(bytes: &[u8]) -> Option<Marker> {
        let rest = bytes.strip_prefix(b"<")?;
        let end = rest.iter().take(40).position(|&byte| byte == b'>')?;
        let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split(':');
        let mut next = || numbers.next()?.parse().ok();
        let marker = Marker {
            key: next()?,
            version: next()?,
            attempt: next()?,
        };
        numbers.next().is_none().then_some(marker)
    }

    /// All markers inside these bytes, in their order: what a serialized value holds.
    pub fn all_in(bytes: &[u8]) -> Vec<Marker> {
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<');
        starts
            .filter_map(|(at, _)| Marker::parse(&bytes[at..]))
            .collect()
    }
}
