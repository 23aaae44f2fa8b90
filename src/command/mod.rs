//! What Keyway knows about each command.
//!
//! A fact about a command is a column of its row in [`table`]; a new command is a new row there, in
//! the file of its group. Nothing outside this module matches on a command's name: what is done with
//! a request is decided by its row's [`Handling`], matched exhaustively in `worker`.

pub mod rights;
mod row;
pub mod table;

pub mod block;
pub mod block_time;
pub mod learnt;
mod lookup;
pub mod stream_ids;

pub mod announced;
pub mod errors;
mod flags;
pub mod keys;
pub mod sha;
pub mod spec;

pub use block::{block_asked_once, block_keys, block_len, block_of_only_primary, block_row};
pub use block_time::{BlockTime, block_time};
pub use keys::{KeyPositions, KeysError, key_positions};
pub use learnt::{LearntCommands, is_http};
pub use lookup::{Lookup, lookup, row_named};
pub use rights::{Categories, KeyUse, Rights};
pub use row::{
    Access, Across, Census, Command, Flags, Handling, Keys, Local, Merge, Script, Subscription,
    Transaction,
};
pub use sha::Sha;
pub use table::{ROWS_COUNT, supported};
