//! What a node says of its commands, whatever it says, and requests for those it announced.

use keyway::cluster::command_listing::parse_commands;
use keyway::cluster::value::Value;
use keyway::command::announced::Interner;
use keyway::command::key_positions;
use keyway::resp::Args;
use keyway::resp::Protocol;
use keyway::resp::scan::{Limits, RequestScanner, Scanned};

const LIMITS: Limits = Limits {
    bulk_bytes_max: 1 << 20,
    request_bytes_max: 1 << 30,
    is_authenticated: true,
};

/// A request that gives every rule about keys something to find.
const REQUEST: &[u8] =
    b"*12\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\nb\r\n$4\r\nKEYS\r\n$1\r\n1\r\n$1\r\nc\r\n$7\r\nSTREAMS\r\n$1\r\nd\r\n$1\r\n0\r\n$2\r\n-1\r\n$5\r\nSTORE\r\n";

/// One input.
pub fn run(data: &[u8]) {
    let mut scanner = RequestScanner::default();
    let Ok(Scanned::Request { len }) = scanner.scan(REQUEST, &LIMITS) else {
        panic!("it is whole")
    };
    let args = Args::new(&REQUEST[..len], scanner.spans());
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let Ok(value) = Value::decode(data, protocol) else {
            continue;
        };
        // Rows live as long as the process; here each input has its own.
        let mut interner = Interner::new(64);
        for announced in parse_commands(&value, |_| true).unwrap_or_default() {
            let Some(row) = interner.row(&announced) else {
                break;
            };
            if let Ok(positions) = key_positions(row, &args) {
                assert!(positions.iter().all(|at| args.get(at).is_some()));
            }
        }
    }
}
