//! The name of a script: the SHA1 of its body.

use std::fmt;

/// SHA1 of a script's body.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha([u8; 20]);

impl Sha {
    /// The name of a body.
    pub fn of(body: &[u8]) -> Sha {
        Sha(sha1_smol::Sha1::from(body).digest().bytes())
    }

    /// Reads what stands in `EVALSHA`: forty hexadecimal digits of any case.
    pub fn parse(digits: &[u8]) -> Option<Sha> {
        let digits: &[u8; 40] = digits.try_into().ok()?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hexadecimal(pair[0])? << 4 | hexadecimal(pair[1])?;
        }
        Some(Sha(bytes))
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_servers() {
        // What `SCRIPT LOAD "return 1"` answers.
        let name = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let sha = Sha::of(b"return 1");
        assert_eq!(sha.to_string(), name);
        assert_eq!(Sha::parse(name.as_bytes()), Some(sha));
        assert_eq!(Sha::parse(name.to_uppercase().as_bytes()), Some(sha));
        for wrong in [
            "",
            "e0e1",
            &name[1..],
            &format!("{name}0"),
            &name.replace('e', "g"),
        ] {
            assert_eq!(Sha::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
