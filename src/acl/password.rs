//! Passwords as the servers keep them: SHA-256.

use std::fmt;
use std::hint::black_box;

use sha2::{Digest, Sha256};

/// The hash of a password. Its `Debug` prints `***`: it opens a door to whoever can reverse it.
#[derive(Clone, Copy)]
pub struct PasswordHash([u8; 32]);

impl PasswordHash {
    /// Of a password in clear.
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Sha256::digest(password).into())
    }

    /// From 64 hexadecimal digits in lower case, as the servers want them.
    pub fn from_hex(digits: &[u8]) -> Option<PasswordHash> {
        let digits: &[u8; 64] = digits.try_into().ok()?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(PasswordHash(hash))
    }

    /// As 64 hexadecimal digits: for `ACL LIST` and `ACL GETUSER`, and nothing else.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn matches(&self, other: &PasswordHash) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        let difference = pairs.fold(0, |difference, (one, two)| {
            difference | black_box(one ^ two)
        });
        black_box(difference) == 0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_P: &str = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";

    #[test]
    fn hashes_are_the_servers() {
        let hash = PasswordHash::of(b"p");
        assert_eq!(hash.to_hex(), OF_P);
        let read = PasswordHash::from_hex(OF_P.as_bytes()).expect("64 digits");
        assert!(read.matches(&hash) && !read.matches(&PasswordHash::of(b"q")));
        for wrong in [&OF_P[1..], &OF_P.to_uppercase(), &OF_P.replace('1', "g")] {
            assert!(
                PasswordHash::from_hex(wrong.as_bytes()).is_none(),
                "{wrong}"
            );
        }
        assert_eq!(format!("{hash:?}"), "***");
    }
}
