//! A request as a simulated node receives it.

use keyway::resp::Args;
use keyway::resp::scan::{Limits, RequestScanner, Scanned};

use super::request::token;

/// Takes a whole request from the front.
pub fn next_request(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: 1 << 20,
        request_bytes_max: 1 << 20,
        is_authenticated: true,
    };
    match scanner.scan(input, &limits) {
        Ok(Scanned::Request { len }) => {
            let args = Args::new(&input[..len], scanner.spans());
            let args = args.iter().map(<[u8]>::to_vec).collect();
            input.drain(..len);
            Some(args)
        }
        Ok(Scanned::Incomplete { .. }) => None,
        other => panic!(
            "Keyway wrote what is no request: {other:?} {}",
            input.escape_ascii()
        ),
    }
}

/// The keys of a request, by name and place.
pub fn keys_of(name: &str, args: &[Vec<u8>]) -> Vec<String> {
    let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).into_owned();
    let keys: Vec<String> = match name {
        "GET" | "GETRANGE" | "ZSCORE" | "SET" | "APPEND" | "INCRBY" => vec![text(&args[1])],
        "MGET" | "DEL" | "EXISTS" | "WATCH" => args[1..].iter().map(text).collect(),
        "MSET" => args[1..].iter().step_by(2).map(text).collect(),
        "EVAL" => {
            let count: usize = text(&args[2]).parse().expect("a number of keys");
            args[3..3 + count].iter().map(text).collect()
        }
        _ => vec![],
    };
    keys
}

pub fn name_of(args: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&args[0]).to_ascii_uppercase()
}

/// The number of the client's request.
pub fn id_of(args: &[Vec<u8>]) -> Option<u64> {
    args[1..].iter().find_map(|arg| token(arg))
}

/// The keys that decide where a request goes, without those that only carry its number.
pub fn real_keys(name: &str, args: &[Vec<u8>]) -> Vec<String> {
    let keys = keys_of(name, args).into_iter();
    keys.filter(|key| !key.contains('#')).collect()
}

pub fn is_write(name: &str) -> bool {
    matches!(
        name,
        "SET" | "APPEND" | "INCRBY" | "DEL" | "MSET" | "EVAL" | "PUBLISH"
    )
}
