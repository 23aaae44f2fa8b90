//! What a client is told when a transaction of several parts failed: which part, and what became of the
//! others (contract: T2).

use std::fmt::Write;

use crate::cluster::Slot;

/// What became of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Executed,
    NotExecuted,
    Unknown,
}

/// Part by part, in the order they were sent.
pub(super) type Outcomes = Vec<(Option<Slot>, Outcome)>;

/// What a block's reply says of it.
pub(super) fn outcome_of(reply: &[u8]) -> Outcome {
    if matches!(reply.first(), Some(b'*')) {
        Outcome::Executed
    } else if memchr::memmem::find(reply, b"outcome unknown").is_some() {
        Outcome::Unknown
    } else {
        Outcome::NotExecuted
    }
}

/// So many slots are named, not more.
const SLOTS_NAMED: usize = 8;

/// The error for the whole: that of the first part that failed, and a word on all parts. `left` is how
/// many commands come behind those that were tried.
pub(super) fn explain(error: &[u8], outcomes: &Outcomes, left: usize) -> Vec<u8> {
    let error = error.strip_prefix(b"-").unwrap_or(error).trim_ascii_end();
    let mut text = error.to_vec();
    if outcomes.len() < 2 && left == 0 {
        return text;
    }
    let mut more = String::new();
    for (outcome, words) in [
        (Outcome::Executed, "executed"),
        (Outcome::NotExecuted, "not executed"),
        (Outcome::Unknown, "unknown"),
    ] {
        let slots = outcomes.iter().filter(|(_, other)| *other == outcome);
        let count = slots.clone().count();
        if count == 0 {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(more, "; {words}: {count}");
        let named: Vec<String> = slots
            .filter_map(|(slot, _)| Some(slot.as_ref()?.number().to_string()))
            .take(SLOTS_NAMED)
            .collect();
        if !named.is_empty() {
            let dots = if count > named.len() { ", ..." } else { "" };
            let _ = write!(more, " (slot {}{dots})", named.join(", "));
        }
    }
    if left > 0 {
        let _ = write!(more, "; not tried: the last {left} commands");
    }
    text.extend_from_slice(b" [of the parts of this transaction");
    // The first separator reads as a colon.
    text.extend_from_slice(more.replacen("; ", ": ", 1).as_bytes());
    text.push(b']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: T2
    #[test]
    fn the_client_hears_what_was_done() {
        let slot = |number| Slot::new(number);
        let aborted = b"-EXECABORT Transaction discarded because of: OOM no\r\n";
        let check = |outcomes: &Outcomes, left, expected: &str| {
            let text = explain(aborted, outcomes, left);
            assert_eq!(String::from_utf8_lossy(&text), expected);
        };
        let plain = "EXECABORT Transaction discarded because of: OOM no";
        check(&vec![(slot(5), Outcome::NotExecuted)], 0, plain);
        check(
            &vec![
                (slot(5), Outcome::Executed),
                (slot(7), Outcome::NotExecuted),
                (None, Outcome::Unknown),
                (slot(9), Outcome::Executed),
            ],
            3,
            &format!(
                "{plain} [of the parts of this transaction: executed: 2 (slot 5, 9); not executed: 1 \
                 (slot 7); unknown: 1; not tried: the last 3 commands]"
            ),
        );
        let many = (0..20)
            .map(|number| (slot(number), Outcome::Executed))
            .collect();
        let text = explain(aborted, &many, 0);
        assert!(
            String::from_utf8_lossy(&text)
                .contains("executed: 20 (slot 0, 1, 2, 3, 4, 5, 6, 7, ...)")
        );
    }

    #[test]
    fn what_a_reply_says() {
        assert_eq!(outcome_of(b"*0\r\n"), Outcome::Executed);
        assert_eq!(outcome_of(b"-EXECABORT x\r\n"), Outcome::NotExecuted);
        assert_eq!(
            outcome_of(b"-ERR the connection was lost: outcome unknown; it may\r\n"),
            Outcome::Unknown
        );
        assert_eq!(outcome_of(b""), Outcome::NotExecuted);
    }
}
