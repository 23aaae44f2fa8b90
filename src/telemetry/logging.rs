//! Log lines, on standard error.
//!
//! A line is a lower-case sentence with fields and tells a change of state, into it and out of it;
//! nothing is logged per request above `trace`.
//!
//! What cannot be written is lost: a full disk, or a reader that has gone, must not end a proxy, and a pipe that
//! nobody reads must not hold up its clients. Lost lines are counted, and told of when there is room again.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

/// Lines that were not written.
static LOST: AtomicU64 = AtomicU64::new(0);
/// How many of those the log itself has told of. Held while a line is written: lines of several threads do not mix, and
/// none fills the room that another was promised.
static TOLD: Mutex<u64> = Mutex::new(0);

/// How many log lines were lost because standard error could not take them.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// A pipe that can be written takes this much without waiting for its reader (`PIPE_BUF`, pipe(7)).
const ROOM: usize = 4096;

/// A writer that never fails, and never waits where it is the only one who writes to a pipe; it is given whole lines. (Of
/// one longer than [`ROOM`] the beginning may be all that is taken.) There is nowhere to tell of a failure: the
/// subscriber itself would use `eprintln!`, which panics when standard error cannot be written.
struct Lossy<W>(W);

impl<W: Write + AsFd> Lossy<W> {
    /// Writes all of it, or as much as is taken at once.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        for piece in line.chunks(ROOM) {
            let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
            poll(&mut fds, Some(&Timespec::default()))?;
            if !fds[0].revents().contains(PollFlags::OUT) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.write_all(piece)?;
        }
        Ok(())
    }
}

impl<W: Write + AsFd> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut told = TOLD
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let missing = lines_lost() - *told;
        if missing > 0 && self.put(tale_of_loss(missing, line).as_bytes()).is_ok() {
            *told += missing;
        }
        if self.put(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// A line about lost ones, of the kind that the next line is.
fn tale_of_loss(count: u64, next: &[u8]) -> String {
    let message = "log lines were lost, standard error did not take them";
    match next.first() {
        Some(b'{') => {
            format!("{{\"level\":\"WARN\",\"message\":\"{message}\",\"lines\":{count}}}\n")
        }
        _ => format!("WARN {message} lines={count}\n"),
    }
}
