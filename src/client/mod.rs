//! One client: what it set on its connection, and the commands that read or change that.
//!
//! Nothing here does I/O. A command that this Keyway answers itself is a variant of
//! [`Local`](crate::command::Local); [`answer`] writes its reply and says in [`Effect`] what is left
//! for the worker to do. To add one, add the variant, its row, and an arm in `local`.

pub mod describe;
pub mod filter;
pub mod home;
pub mod local;
pub mod monitor;
pub mod pause;
pub mod session;
pub mod tracking;

pub use describe::{Figures, describe_client};
pub use filter::ClientFilter;
pub use home::Home;
pub use local::{Bound, Effect, NotSelected, Question, Selected, Vouched, World, answer};
pub use session::{ReplyMode, Session};
pub use tracking::{Tracking, TrackingChange, TrackingMode};
