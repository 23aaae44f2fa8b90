//! Replies that are large for their Keyway, among others: each client gets its own, in order.

use std::io::Read;
use std::thread;

use super::support::{Client, Flavor, Keyway, each_flavor};
use super::value::{patient, patient_keyway, shared};

each_flavor! {
    pipelines_with_large_replies_keep_their_order,
}

/// Several clients at once, so that others wait behind every large reply. Values of up to 200 KB are large
/// here, and hardly any may wait for its client.
///
/// contract: P2, P8, R13, T1
fn pipelines_with_large_replies_keep_their_order(flavor: Flavor) {
    let (cluster, _) = shared(flavor);
    for buffer in ["\"0\"", "\"100kb\""] {
        let keyway = patient_keyway(cluster)
            .set("limits.stream_threshold_bytes", "\"4kb\"")
            .set("limits.stream_buffer_bytes", buffer)
            .set("limits.bulk_connections", "4")
            .start();
        thread::scope(|scope| {
            for number in 0..8 {
                let keyway = &keyway;
                scope.spawn(move || converse(keyway, number, 60));
            }
        });
        assert!(keyway.metric("keyway_streamed_replies_total") > 50.0);
        assert!(keyway.metric("keyway_streamed_requests_total") > 50.0);
        assert!(keyway.metric("keyway_streams_fetched_again_total") > 0.0);
    }
}

/// Pipelines of requests on a few keys, of which every reply is known beforehand.
fn converse(keyway: &Keyway, number: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(number);
    let is_resp2 = number.is_multiple_of(2);
    let mut client = match is_resp2 {
        true => keyway.client(),
        false => keyway.client_resp3(),
    };
    // The first two share a slot.
    let keys: Vec<String> = ["{a}1", "{a}2", "b", "c"]
        .map(|name| format!("order:{number}:{name}"))
        .to_vec();
    let mut held: Vec<Option<String>> = vec![None; keys.len()];
    client.call_args(&[&["DEL".to_owned()], &keys[..]].concat());
    for round in 0..rounds {
        let (mut sent, mut want) = (String::new(), String::new());
        let bulk = |out: &mut String, value: &Option<String>| match value {
            Some(value) => out.push_str(&format!("${}\r\n{value}\r\n", value.len())),
            None if is_resp2 => out.push_str("$-1\r\n"),
            None => out.push_str("_\r\n"),
        };
        for step in 0..random.usize(1..20) {
            let at = random.usize(..keys.len());
            let key = &keys[at];
            match random.u8(..10) {
                0 | 1 => {
                    let len = [1, 10, 5_000, 200_000][random.usize(..4)];
                    let mut value = format!("{round}.{step}.").repeat(len / 5 + 1);
                    value.truncate(len);
                    sent.push_str(&format!(
                        "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n",
                        key.len(),
                        value.len()
                    ));
                    want.push_str("+OK\r\n");
                    held[at] = Some(value);
                }
                2 => {
                    sent.push_str(&format!("APPEND {key} x\r\n"));
                    let value = held[at].get_or_insert_default();
                    value.push('x');
                    want.push_str(&format!(":{}\r\n", value.len()));
                }
                3 => {
                    sent.push_str(&format!("GETDEL {key}\r\n"));
                    bulk(&mut want, &held[at].take());
                }
                4 => {
                    sent.push_str(&format!("MGET {} {}\r\n", keys[0], keys[1]));
                    want.push_str("*2\r\n");
                    bulk(&mut want, &held[0]);
                    bulk(&mut want, &held[1]);
                }
                5 => {
                    sent.push_str("PING\r\n");
                    want.push_str("+PONG\r\n");
                }
                6 => {
                    sent.push_str(&format!("MULTI\r\nGET {key}\r\nEXEC\r\n"));
                    want.push_str("+OK\r\n+QUEUED\r\n*1\r\n");
                    bulk(&mut want, &held[at]);
                }
                _ => {
                    sent.push_str(&format!("GET {key}\r\n"));
                    bulk(&mut want, &held[at]);
                }
            }
        }
        check(&mut client, &sent, want.as_bytes());
    }
}

/// As [`Client::expect_raw`], and shows only where it differs.
fn check(client: &mut Client, sent: &str, want: &[u8]) {
    client.send_raw(sent);
    let mut got = vec![0; want.len()];
    let mut read = 0;
    let mut stream = patient(client);
    while read < got.len() {
        match stream.read(&mut got[read..]) {
            Ok(count @ 1..) => read += count,
            end => panic!(
                "{end:?} after {read} of {} bytes: {}",
                want.len(),
                near(&got, read)
            ),
        }
        let differs = (0..read).find(|at| got[*at] != want[*at]);
        if let Some(at) = differs {
            let (got, want) = (near(&got[..read], at), near(want, at));
            panic!(
                "differs at {at}:\n got {got}\nwant {want}\nof {}",
                short(sent)
            );
        }
    }
}

fn near(bytes: &[u8], at: usize) -> String {
    let rest = &bytes[at.saturating_sub(30).min(bytes.len())..];
    rest[..rest.len().min(90)].escape_ascii().to_string()
}

fn short(sent: &str) -> String {
    let lines = sent.lines().map(|line| &line[..line.len().min(40)]);
    lines.collect::<Vec<_>>().join("; ")
}
