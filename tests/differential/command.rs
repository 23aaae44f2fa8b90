//! One command of a sequence.

use std::fmt;

use super::compare::Rule;
use super::support::client::encode;

/// What is sent, and how its reply is compared.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its arguments; of what is no request (an empty line), none.
    pub words: Vec<Vec<u8>>,
    /// For what is not sent as an array of bulk strings.
    pub raw: Option<&'static [u8]>,
    /// How replies are compared.
    pub rule: Rule,
}

/// Inline commands, what is no request at all, and what breaks the protocol.
const RAW: &[(&[u8], &[&str])] = &[
    (b"PING\r\n", &["PING"]),
    (b"ping hello\n", &["PING", "hello"]),
    (b"  ECHO   \"a b\\x41\"  \r\n", &["ECHO", "a bA"]),
    (b"\r\n", &[]),
    (b"   \r\n", &[]),
    (b"*0\r\n", &[]),
    (b"*-1\r\n", &[]),
    (b"*1\r\n$4\r\nPiNg\r\n", &["PING"]),
    (b"*1\r\n$0\r\n\r\n", &[""]),
    (b"PING \"unbalanced\r\n", &[CLOSES]),
    (b"*x\r\n", &[CLOSES]),
    (b"*2\r\n$4\r\nECHO\r\n:5\r\n", &[CLOSES]),
    (b"*2\r\n$4\r\nECHO\r\n$-1\r\n", &[CLOSES]),
    (b"*1\r\n$99999999999\r\n", &[CLOSES]),
];

/// Stands for the name of what makes the server close.
const CLOSES: &str = "(a protocol error)";

impl Command {
    /// A request, compared byte for byte.
    pub fn exact<A: AsRef<[u8]>>(words: &[A]) -> Command {
        Command {
            words: words.iter().map(|word| word.as_ref().to_vec()).collect(),
            raw: None,
            rule: Rule::Exact,
        }
    }

    /// Something that is not an array of bulk strings.
    pub fn raw(random: &mut fastrand::Rng) -> Command {
        // Half of them break the protocol and close the connection; those are rarer.
        let end = if random.u8(..8) == 0 { RAW.len() } else { 9 };
        let (raw, words) = RAW[random.usize(..end)];
        Command {
            raw: Some(raw),
            ..Command::exact(words)
        }
    }

    /// Its bytes.
    pub fn wire(&self) -> Vec<u8> {
        match self.raw {
            Some(raw) => raw.to_vec(),
            None => encode(&self.words),
        }
    }

    /// Its name in capitals; empty when it is no request.
    pub fn name(&self) -> String {
        self.word(0)
    }

    /// An argument in capitals; empty when there is none.
    pub fn word(&self, index: usize) -> String {
        let word = self.words.get(index).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(word).to_uppercase()
    }

    /// How many arguments, the name included.
    pub fn argc(&self) -> usize {
        self.words.len()
    }

    /// Whether the server closes after it, wherever it stands.
    pub fn closes(&self) -> bool {
        self.name() == "QUIT" || self.name() == CLOSES.to_uppercase()
    }
}

/// As a test would write it: `SET "{t}s0" "a\r\nb"`.
impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(raw) = self.raw {
            return write!(out, "raw '{}'", raw.escape_ascii());
        }
        for (index, word) in self.words.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let plain =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:*{}+($>@#~=".contains(byte);
            if word.len() > 400 {
                write!(
                    out,
                    "{gap}({} bytes of '{}...')",
                    word.len(),
                    word[..8].escape_ascii()
                )?;
            } else if !word.is_empty() && word.iter().all(plain) {
                write!(out, "{gap}{}", String::from_utf8_lossy(word))?;
            } else {
                write!(out, "{gap}\"{}\"", word.escape_ascii())?;
            }
        }
        Ok(())
    }
}
