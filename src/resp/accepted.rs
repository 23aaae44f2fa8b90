//! Reading a request once more that was accepted before, by the limits that hold for its client.

use super::Args;
use super::scan::{Limits, RequestScanner, Scanned};

/// Lends the arguments of the request at the start of `bytes`; `None` when there is none.
pub fn with_args<R>(bytes: &[u8], then: impl FnOnce(&Args<'_>) -> R) -> Option<R> {
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: i64::MAX,
        request_bytes_max: usize::MAX,
        is_authenticated: true,
    };
    match scanner.scan(bytes, &limits) {
        Ok(Scanned::Request { len }) => Some(then(&Args::new(bytes.get(..len)?, scanner.spans()))),
        _ => None,
    }
}
