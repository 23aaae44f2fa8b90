//! What a node says of the cluster: `CLUSTER NODES`, `SLOTS` and `SHARDS`, whatever comes.

use keyway::cluster::Endpoint;
use keyway::cluster::value::Value;
use keyway::cluster::view::Answered;
use keyway::cluster::view_listing::{parse_shards, parse_slots};
use keyway::cluster::view_nodes::parse_nodes;
use keyway::resp::Protocol;

/// One input.
pub fn run(data: &[u8]) {
    let by = Endpoint {
        host: "127.0.0.1".into(),
        port: 7000,
    };
    let answered = Answered {
        by: &by,
        over_tls: false,
    };
    let _ = parse_nodes(data, answered);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        if let Ok(value) = Value::decode(data, protocol) {
            let _ = parse_shards(&value, answered);
            let _ = parse_slots(&value, answered);
        }
    }
}
