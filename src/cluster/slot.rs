//! The hash slot of a key.

use super::crc16::crc16;

/// One of the 16384 hash slots. The value is always below [`Slot::COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// How many slots a cluster has.
    pub const COUNT: usize = 16384;

    /// The slot with this number, if there is one.
    pub fn new(number: u16) -> Option<Slot> {
        (usize::from(number) < Slot::COUNT).then_some(Slot(number))
    }

    /// Its number, 0 to 16383.
    #[inline]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index into tables of [`Slot::COUNT`] entries.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The slot of a key: CRC16/XMODEM of the key, or of its hash tag, modulo 16384
    /// (contract: R1).
    #[inline]
    pub fn of_key(key: &[u8]) -> Slot {
        let hashed = hash_tag(key).unwrap_or(key);
        Slot(crc16(hashed) % Slot::COUNT as u16)
    }
}

/// The part between the first `{` and the first `}` after it, unless that is empty.
#[inline]
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let after = key.get(memchr::memchr(b'{', key)? + 1..)?;
    let tag = after.get(..memchr::memchr(b'}', after)?)?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from a server's own `CLUSTER KEYSLOT`. contract: R1
    #[test]
    fn slots_are_the_servers() {
        for (key, slot) in [
            (&b""[..], 0),
            (b"foo", 12182),
            (b"123456789", 12739),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ] {
            assert_eq!(
                Slot::of_key(key).number(),
                slot,
                "{}",
                String::from_utf8_lossy(key)
            );
        }
    }
}
