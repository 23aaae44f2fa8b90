//! As whom a user's commands travel to the nodes.
//!
//! Only a name and a number: what opens connections with the right credentials lies further up. The number
//! is what clients and connections are told apart by, so it is never given twice in one process.

/// The number of an identity, unique within the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityNumber(pub u32);

impl IdentityNumber {
    /// The service user, as whom everything travels that has no identity of its own.
    pub const SERVICE: IdentityNumber = IdentityNumber(0);
}

/// A user of the nodes, as whom the commands of some clients travel.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    number: IdentityNumber,
    name: Box<str>,
}

impl Identity {
    /// The identity with this number and this name at the nodes.
    pub fn new(number: IdentityNumber, name: &str) -> Identity {
        Identity {
            number,
            name: name.into(),
        }
    }

    /// Its number.
    pub fn number(&self) -> IdentityNumber {
        self.number
    }

    /// Its name at the nodes.
    pub fn name(&self) -> &str {
        &self.name
    }
}
