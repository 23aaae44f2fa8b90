//! `PFCOUNT` over several slots: the estimate is the server's own, to the last digit.

use super::Pair;
use super::support::{Flavor, each_flavor};

each_flavor!(estimates_of_every_size, strings_that_are_none);

/// Sparse and dense ones, from nothing to a million elements. contract: M3
fn estimates_of_every_size(flavor: Flavor) {
    let mut pair = Pair::new(flavor, 2);
    let keys = ["{one}h", "{two}h", "{three}h", "{four}h"];
    for key in keys {
        pair.fill_line(&format!("DEL {key}"));
    }
    let mut random = fastrand::Rng::with_seed(11);
    let mut added = 0usize;
    while added < 200_000 {
        let count = (added / 6).clamp(1, 20_000);
        // Some keys get little, so that sparse ones meet dense ones.
        let key = keys[(random.usize(..20)).min(random.usize(..4))];
        for chunk in 0..count.div_ceil(1000) {
            let mut words = vec![b"PFADD".to_vec(), key.as_bytes().to_vec()];
            let size = 1000.min(count - chunk * 1000);
            words.extend((0..size).map(|_| random.u32(..400_000).to_string().into_bytes()));
            pair.fill(&words);
        }
        added += count;
        pair.same_line("PFCOUNT {one}h {two}h");
        pair.same_line("PFCOUNT {two}h {three}h {four}h {none}h");
        pair.same_line("PFCOUNT {one}h {two}h {three}h {four}h");
    }
}

/// contract: M3
fn strings_that_are_none(flavor: Flavor) {
    for version in [2, 3] {
        let mut pair = Pair::new(flavor, version);
        for line in [
            "DEL {one}a {two}a {one}b {two}b {one}set {two}set {one}bad {two}bad {one}sparse {two}sparse",
            "PFADD {one}a x y z",
            "SET {two}a text",
            "SADD {two}set 1",
            "SET {one}b 12345678901234567890",
            "SET {two}b \"\"",
        ] {
            for client in [&mut pair.server, &mut pair.through] {
                let reply = client.call(line);
                assert!(!reply.is_error(), "{reply}");
            }
        }
        for (key, body) in [
            ("{one}bad", &b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0short"[..]),
            ("{two}bad", b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"),
            ("{one}sparse", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe"),
            ("{two}sparse", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f"),
        ] {
            pair.fill(&[b"SET".to_vec(), key.as_bytes().to_vec(), body.to_vec()]);
        }
        for line in [
            "PFCOUNT {none}x {other}x",
            "PFCOUNT {one}a {other}x",
            "PFCOUNT {one}a {two}a",
            "PFCOUNT {two}a {two}set {one}a",
            "PFCOUNT {two}set {one}a {two}a",
            "PFCOUNT {one}a {two}set",
            "PFCOUNT {one}a {two}b",
            "PFCOUNT {one}b {two}a",
            "PFCOUNT {one}bad {two}a",
            "PFCOUNT {one}a {two}bad",
            "PFCOUNT {one}sparse {two}a",
            "PFCOUNT {two}sparse {one}a",
            "PFCOUNT {one}a {two}sparse {two}set",
        ] {
            pair.same_line(line);
        }
    }
}
