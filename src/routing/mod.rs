//! Pure decisions: a request and the snapshot make a plan; partial replies make one reply.

pub mod across;
pub mod glob;
pub mod merge;
pub mod poll;
pub mod scan_cursor;
pub mod split;

use crate::cluster::Slot;

/// A worker's own number for a node, stable across snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u32);

/// Where a request, or a part of one, has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The primary that owns this slot, whichever that is when the request leaves.
    Slot(Slot),
    /// This primary, as one of all of them, while it owns any slot; else whoever took over, which is the
    /// owner of this slot of its.
    Primary(NodeKey, Slot),
    /// This node and no other.
    Node(NodeKey),
    /// Any primary.
    Any,
}

impl Target {
    /// The node that it names.
    pub fn node(self) -> Option<NodeKey> {
        match self {
            Target::Primary(node, _) | Target::Node(node) => Some(node),
            Target::Slot(_) | Target::Any => None,
        }
    }
}
