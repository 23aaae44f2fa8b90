//! Random contents and random requests, against one server.

use super::Pair;
use super::support::{Flavor, each_flavor};

each_flavor!(random_sets_and_sorted_sets, scores_of_every_size);

/// Keys of many slots; some share one.
fn key(random: &mut fastrand::Rng) -> Vec<u8> {
    let number = random.u8(..9);
    let tag = if random.bool() { "{one}" } else { "" };
    format!("across:{tag}{number}").into_bytes()
}

fn score(random: &mut fastrand::Rng) -> String {
    match random.u8(..8) {
        0 => "inf".to_owned(),
        1 => "-inf".to_owned(),
        2 => "-0".to_owned(),
        3 => random.i32(-3..4).to_string(),
        4 => {
            format!("{:e}", f64::from_bits(random.u64(..)).clamp(-1e300, 1e300)).replace("NaN", "7")
        }
        5 => format!("{}", random.i64(..)),
        _ => format!("{}", f64::from(random.i16(..)) / 10.0),
    }
}

fn member(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..10) {
        0 => Vec::new(),
        1 => b"two\r\nlines".to_vec(),
        2 => vec![0, 255, 13, 10],
        _ => format!("m{}", random.u8(..14)).into_bytes(),
    }
}

/// contract: M3
fn random_sets_and_sorted_sets(flavor: Flavor) {
    for version in [2, 3] {
        let mut pair = Pair::new(flavor, version);
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..60 {
            fill(&mut pair, &mut random);
            for _ in 0..25 {
                let request = request(&mut random);
                // Valkey 9 does not read it any more.
                let is_unread = request.iter().any(|word| word == b"0x1p-2");
                if is_unread && flavor == Flavor::Valkey && flavor.is_since(9, 0) {
                    continue;
                }
                pair.same(&request);
            }
        }
    }
}

/// A few keys get other contents.
fn fill(pair: &mut Pair, random: &mut fastrand::Rng) {
    for _ in 0..4 {
        let key = key(random);
        pair.fill(&[b"DEL".to_vec(), key.clone()]);
        let count = match random.u8(..20) {
            0 => 600,
            _ => random.usize(1..8),
        };
        let mut words = vec![b"SADD".to_vec(), key.clone()];
        match random.u8(..10) {
            0 => continue,
            1 => {
                pair.fill(&[b"SET".to_vec(), key, b"text".to_vec()]);
                continue;
            }
            2..5 => words.extend((0..count).map(|number| match number {
                8.. => number.to_string().into_bytes(),
                _ => member(random),
            })),
            _ => {
                words[0] = b"ZADD".to_vec();
                for number in 0..count {
                    words.push(score(random).into_bytes());
                    words.push(match number {
                        8.. => number.to_string().into_bytes(),
                        _ => member(random),
                    });
                }
            }
        }
        pair.fill(&words);
    }
}

fn request(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    const NAMES: [&str; 9] = [
        "SUNION",
        "SINTER",
        "sdiff",
        "SINTERCARD",
        "ZUNION",
        "zinter",
        "ZDIFF",
        "ZINTERCARD",
        "ZUNION",
    ];
    let name = NAMES[random.usize(..NAMES.len())];
    let keys: Vec<_> = (0..random.usize(1..6)).map(|_| key(random)).collect();
    let upper = name.to_uppercase();
    let mut words = vec![name.as_bytes().to_vec()];
    if upper.starts_with('Z') || upper == "SINTERCARD" {
        words.push(keys.len().to_string().into_bytes());
    }
    words.extend(keys.iter().cloned());
    for _ in 0..random.usize(..3) {
        match random.u8(..8) {
            0 | 1 => {
                words.push(b"weights".to_vec());
                words.extend(keys.iter().map(|_| match random.u8(..30) {
                    0 => b"nope".to_vec(),
                    1 => b"0x1p-2".to_vec(),
                    2 => b"0".to_vec(),
                    _ => score(random).into_bytes(),
                }));
            }
            2 | 3 => {
                words.push(b"AGGREGATE".to_vec());
                let all: [&[u8]; 5] = [b"SUM", b"min", b"Max", b"max", b"avg"];
                words.push(all[random.usize(..all.len())].to_vec());
            }
            4 => words.extend([b"LIMIT".to_vec(), random.i8(-1..4).to_string().into_bytes()]),
            5 if random.u8(..5) == 0 => words.push(b"nonsense".to_vec()),
            _ => words.push(b"WITHSCORES".to_vec()),
        }
    }
    words
}

/// Every digit of a score is the server's: numbers of all sizes, sums of two. contract: M3
fn scores_of_every_size(flavor: Flavor) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for version in [2, 3] {
        let mut pair = Pair::new(flavor, version);
        for round in 0..8 {
            for key in ["{one}scores", "{two}scores"] {
                pair.fill_line(&format!("DEL {key}"));
                let mut words = vec![b"ZADD".to_vec(), key.as_bytes().to_vec()];
                for number in 0..2_500 {
                    let value = match round % 4 {
                        0 => f64::from_bits(random.u64(..)),
                        1 => random.f64() * 10f64.powi(random.i32(-12..24)),
                        2 => f64::from(random.i32(..)) / 10f64.powi(random.i32(0..12)),
                        _ => {
                            (random.u64(..) >> random.u8(..64)) as f64
                                * 2f64.powi(random.i32(-20..20))
                        }
                    };
                    let value = if value.is_finite() { value } else { 1.0 };
                    words.push(format!("{value:e}").into_bytes());
                    words.push(format!("m{number}").into_bytes());
                }
                pair.fill(&words);
            }
            pair.same_line("ZUNION 2 {one}scores {two}none WITHSCORES");
            pair.same_line("ZUNION 2 {one}scores {two}scores WITHSCORES");
            pair.same_line("ZINTER 2 {one}scores {two}scores WEIGHTS 0.1 -3 WITHSCORES");
        }
    }
}
