//! Log lines, on standard error.
//!
//! A line is a lower-case sentence with fields and tells a change of state, into it and out of it;
//! nothing is logged per request above `trace`.
//!
//! What cannot be written is lost: a full disk, or a reader that has gone, must not end a proxy.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes lines for people, in colour when standard error is a terminal. The first call of
/// the process counts; a later one (in tests) changes nothing.
pub fn start_text(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(standard_error)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .finish();
    // Fails only when there is one already.
    let _ = subscriber.try_init();
}

/// Writes one JSON object a line: `timestamp`, `level`, `message` and the fields beside them. The
/// first call of the process counts.
pub fn start_json(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(standard_error)
        .with_max_level(level)
        .with_target(false)
        .finish();
    let _ = subscriber.try_init();
}

fn standard_error() -> Lossy<io::Stderr> {
    Lossy(io::stderr())
}

/// A writer that never fails. There is nowhere to tell of a failure: the subscriber itself would use `eprintln!`,
/// which panics when standard error cannot be written.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
