//! Which connections a client's requests may take.

use crate::acl::IdentityNumber;
use crate::cluster::Database;

/// What connections to nodes are opened for, and stay for as long as they live. Whoever has another home than
/// where it is must not use them (contract: C1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Home {
    /// As whom they are open.
    pub identity: IdentityNumber,
    /// In which database every request on them is carried out.
    pub database: Database,
}

impl Home {
    /// The service user's, in the first database: where every client begins.
    pub const FIRST: Home = Home {
        identity: IdentityNumber::SERVICE,
        database: Database::FIRST,
    };
}
