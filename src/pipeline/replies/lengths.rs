//! How long a client's next replies may be.

/// The longest of its last replies, or a guess before the first one. Rises at once, because whatever else is asked for
/// may be as long, and falls slowly.
#[derive(Debug)]
pub(super) struct Lengths {
    usual: usize,
    is_guess: bool,
    /// It falls after so many replies more that are no longer.
    until_less: u32,
}

/// So many replies have to be shorter for it to fall, by a quarter.
const LESS_AFTER: u32 = 16;

impl Default for Lengths {
    fn default() -> Self {
        Lengths {
            usual: 0,
            is_guess: true,
            until_less: 1,
        }
    }
}

impl Lengths {
    /// About how long the next reply may be, in bytes.
    #[inline]
    pub(super) fn usual(&self) -> usize {
        self.usual
    }

    /// What it is before the first reply.
    pub(super) fn guess(&mut self, len: usize) {
        if self.is_guess {
            self.usual = len;
        }
    }

    /// Looks at a reply. Most tell nothing new.
    #[inline]
    pub(super) fn see(&mut self, len: usize) {
        self.until_less -= 1;
        if self.until_less == 0 || len > self.usual {
            self.note(len);
        }
    }

    #[cold]
    pub(super) fn note(&mut self, len: usize) {
        self.usual = match self.is_guess {
            true => len,
            false => len.max(self.usual - self.usual / 4),
        };
        self.is_guess = false;
        self.until_less = LESS_AFTER;
    }
}
