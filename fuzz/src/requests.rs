//! Bytes of a client: framing, look-up, key positions. The first byte says where the rest is cut in
//! two; cut or whole, the same requests must be found.

use keyway::command::{Lookup, key_positions, lookup};
use keyway::resp::scan::{Limits, RequestScanner, Scanned};
use keyway::resp::{Args, inline};

const LIMITS: Limits = Limits {
    bulk_bytes_max: 1 << 20,
    request_bytes_max: 1 << 30,
    is_authenticated: true,
};

fn requests(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let mut scanner = RequestScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        while start < end {
            let consumed = match scanner.scan(&bytes[start..end], &LIMITS) {
                Ok(Scanned::Request { len }) => {
                    let args = Args::new(&bytes[start..start + len], scanner.spans());
                    if let Lookup::Found(command) = lookup(&args)
                        && let Ok(positions) = key_positions(command, &args)
                    {
                        assert!(positions.iter().all(|at| args.get(at).is_some()));
                    }
                    found.push(args.iter().map(<[u8]>::to_vec).collect());
                    len
                }
                Ok(Scanned::Inline { text, len }) => {
                    let _ = inline::split(&bytes[start..start + text]);
                    len
                }
                Ok(Scanned::Empty { len }) => len,
                Ok(Scanned::Incomplete { .. }) => break,
                Err(_) => return found,
            };
            start += consumed;
            scanner.reset();
        }
    }
    found
}

/// One input.
pub fn run(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).min(bytes.len());
    assert_eq!(requests(bytes, &[cut]), requests(bytes, &[]));
}
