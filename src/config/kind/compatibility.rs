//! What Keyway does with commands that one server carries out and a cluster refuses, because their
//! keys are in several slots. Each way out gives something up, so each has to be chosen.

use super::text::Word;

/// Reads over several slots (contract: M3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossSlotReads {
    /// `CROSSSLOT`, as a node of the cluster answers.
    #[default]
    Refuse,
    /// Computed here from what each slot holds; not atomic.
    Emulate,
}

impl Word for CrossSlotReads {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("refuse", CrossSlotReads::Refuse),
        ("emulate", CrossSlotReads::Emulate),
    ];
}

/// Transactions over several slots (contract: T2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossSlotTransactions {
    /// `CROSSSLOT` when the command is queued, `EXECABORT` at `EXEC`.
    #[default]
    Refuse,
    /// One atomic block for each slot; not atomic across slots.
    Split,
}

impl Word for CrossSlotTransactions {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("refuse", CrossSlotTransactions::Refuse),
        ("split", CrossSlotTransactions::Split),
    ];
}

/// Blocking commands over several slots (contract: T7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossSlotBlocking {
    /// `CROSSSLOT`, as a node of the cluster answers.
    #[default]
    Refuse,
    /// The keys are asked in turn until one has an element.
    Poll,
}

impl Word for CrossSlotBlocking {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("refuse", CrossSlotBlocking::Refuse),
        ("poll", CrossSlotBlocking::Poll),
    ];
}
