//! A client in one line, as `CLIENT LIST` and `CLIENT INFO` show it.

use super::{Session, TrackingMode};
use crate::resp::Protocol;

/// What the worker knows of a client and its session does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// The time, in microseconds on the process' clock.
    pub now_us: u64,
    /// Bytes that were read and not processed yet.
    pub input_bytes: usize,
    /// Reply bytes that the client has not taken yet.
    pub output_bytes: usize,
    /// Requests whose replies are still to come.
    pub requests_in_flight: usize,
    /// Channels, patterns and shard channels it is subscribed to.
    pub subscriptions: [usize; 3],
    /// Commands it has queued; `None` outside `MULTI`.
    pub queued: Option<usize>,
    /// Keys it watches.
    pub watched: usize,
    /// Whether its `EXEC` will be refused, because a watched key was touched.
    pub is_touched: bool,
    /// Whether it is in `MONITOR`.
    pub is_monitor: bool,
    /// Whether it waits for a command that blocks, or for the end of a pause.
    pub is_blocked: bool,
    /// Whether it is closed after its last reply.
    pub is_closing: bool,
}

/// The line of one client in the fields and the order of Redis 7.4, with its line break. What
/// Keyway has no counterpart of is 0, as on a server that does not use it.
pub fn describe_client(session: &Session, figures: &Figures) -> Vec<u8> {
    let seconds_since = |then_us: u64| figures.now_us.saturating_sub(then_us) / 1_000_000;
    let is_broadcast = session
        .tracking
        .as_ref()
        .is_some_and(|tracking| tracking.mode() == TrackingMode::Broadcast);
    let mut flags = String::new();
    // As addresses of a Unix socket's clients are written.
    let is_local = session.address.ends_with(":0");
    let [channels, patterns, shards] = figures.subscriptions;
    for (flag, is_set) in [
        ('O', figures.is_monitor),
        ('P', figures.subscriptions != [0; 3]),
        ('x', figures.queued.is_some()),
        ('b', figures.is_blocked),
        ('t', session.tracking.is_some()),
        ('B', is_broadcast),
        ('d', figures.is_touched),
        ('c', figures.is_closing),
        ('U', is_local),
        ('r', session.is_read_only),
        ('e', session.is_no_evict),
        ('T', session.is_no_touch),
    ] {
        if is_set {
            flags.push(flag);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let output_bytes = figures.output_bytes;
    let mut line = format!("id={} addr={} ", session.id, session.address).into_bytes();
    line.extend_from_slice(format!("laddr={} fd=0 name=", session.local_address).as_bytes());
    line.extend_from_slice(session.name());
    let rest = format!(
        " age={} idle={} flags={flags} db={} sub={channels} psub={patterns} ssub={shards} \
         multi={} watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output_bytes} oll={} omem={output_bytes} \
         tot-mem={} events=r cmd={} user={} redir={} resp={} lib-name=",
        seconds_since(session.created_us),
        seconds_since(session.last_command_us),
        session.database(),
        figures.queued.map_or(-1, |queued| queued as i64),
        figures.watched,
        figures.input_bytes,
        figures.requests_in_flight,
        size_of::<Session>() + figures.input_bytes + output_bytes,
        session.last_command.map_or("NULL", |command| command.name),
        session.user().name(),
        session.redirection(),
        match session.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
    );
    line.extend_from_slice(rest.as_bytes());
    line.extend_from_slice(session.library());
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(session.library_version());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Door;

    /// contract: C2
    #[test]
    fn a_client_in_one_line() {
        let mut session = Session::new(
            7,
            "10.0.0.1:50000",
            "10.0.0.2:6379",
            &Door::default(),
            1_000_000,
        );
        session.set_name(b"worker-1");
        session.set_library(b"redis-py");
        session.last_command_us = 61_500_000;
        session.is_no_touch = true;
        let figures = Figures {
            now_us: 63_000_000,
            input_bytes: 26,
            output_bytes: 5,
            requests_in_flight: 2,
            ..Figures::default()
        };
        let line = describe_client(&session, &figures);
        let expected = format!(
            "id=7 addr=10.0.0.1:50000 laddr=10.0.0.2:6379 fd=0 name=worker-1 age=62 idle=1 flags=T \
             db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=26 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
             rbp=0 obl=5 oll=2 omem=5 tot-mem={} events=r cmd=NULL user=default redir=-1 resp=2 \
             lib-name=redis-py lib-ver=\n",
            size_of::<Session>() + 31
        );
        assert_eq!(String::from_utf8_lossy(&line), expected);
        let figures = Figures {
            queued: Some(3),
            ..figures
        };
        let line = describe_client(&session, &figures);
        let line = String::from_utf8_lossy(&line);
        assert!(
            line.contains(" flags=xT ") && line.contains(" multi=3 "),
            "{line}"
        );
    }

    /// contract: C2
    #[test]
    fn flags_in_the_order_of_the_servers() {
        let flags = |session: &Session, figures: &Figures| {
            let line = describe_client(session, figures);
            let line = String::from_utf8_lossy(&line).into_owned();
            let (_, rest) = line.split_once(" flags=").expect("they are there");
            rest.split(' ').next().unwrap_or_default().to_owned()
        };
        let mut session = Session::new(7, "/run/k:0", "/run/k:0", &Door::default(), 0);
        assert_eq!(flags(&session, &Figures::default()), "U");
        session.is_read_only = true;
        session.is_no_evict = true;
        session.is_no_touch = true;
        let figures = Figures {
            queued: Some(0),
            is_touched: true,
            is_monitor: true,
            is_blocked: true,
            is_closing: true,
            ..Figures::default()
        };
        assert_eq!(flags(&session, &figures), "OxbdcUreT");
        let remote = Session::new(7, "10.0.0.1:1", "10.0.0.2:6379", &Door::default(), 0);
        assert_eq!(flags(&remote, &Figures::default()), "N");
    }
}
