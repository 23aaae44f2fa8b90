//! The end of what is sent on a connection, which the node sees before the connection itself ends.

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendingEnd {
    /// More may be sent.
    #[default]
    Open,
    /// The node is told as soon as what is in the outbox is written.
    Wanted,
    /// It was told.
    Told,
}

impl SendingEnd {
    /// Nothing more will be sent.
    pub fn want(&mut self) {
        if *self == SendingEnd::Open {
            *self = SendingEnd::Wanted;
        }
    }
}
