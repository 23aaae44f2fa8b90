//! Merging against a slow, obvious oracle that decodes every part.

use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame as Frame;

use super::*;

mod past;

fn merged(merge: Merge, order: &[u32], parts: &[&[u8]]) -> Vec<u8> {
    merged_as(merge, Protocol::Resp2, order, parts)
}

fn merged_as(merge: Merge, protocol: Protocol, order: &[u32], parts: &[&[u8]]) -> Vec<u8> {
    let plan = MergePlan {
        order: order.to_vec(),
        ..MergePlan::new(merge, protocol)
    };
    merged_by(&plan, parts)
}

fn merged_by(plan: &MergePlan, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    super::merge(plan, parts.iter().copied(), &InfoFacts::default(), &mut out);
    assert!(
        out.starts_with(b"before"),
        "what was there before is left alone"
    );
    out.split_off(6)
}

fn check(merge: Merge, order: &[u32], parts: &[&str], expected: &str) {
    let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
    let out = merged(merge, order, &parts);
    assert_eq!(
        out.escape_ascii().to_string(),
        expected.as_bytes().escape_ascii().to_string(),
        "{merge:?} of {parts:?}"
    );
}

/// contract: M1
#[test]
fn elements_return_to_the_place_of_their_keys() {
    let one = "*1\r\n$1\r\na\r\n";
    check(Merge::ByKey, &[0], &[one], "*1\r\n$1\r\na\r\n");
    check(
        Merge::ByKey,
        &[1, 0, 1],
        &[one, "*2\r\n$-1\r\n$2\r\n\r\n\r\n"],
        "*3\r\n$-1\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
    );
    check(
        Merge::ByKey,
        &[0, 1],
        &[
            "*1\r\n%1\r\n+k\r\n*1\r\n_\r\n",
            "*1\r\n|1\r\n+t\r\n:1\r\n:5\r\n",
        ],
        "*2\r\n%1\r\n+k\r\n*1\r\n_\r\n|1\r\n+t\r\n:1\r\n:5\r\n",
    );
}

/// contract: M1
#[test]
fn a_failed_part_fails_the_whole() {
    let error = "-ERR no\r\n";
    check(Merge::Sum, &[], &[":1\r\n", error, "-ERR two\r\n"], error);
    check(Merge::ByKey, &[0, 1], &["*1\r\n$-1\r\n", error], error);
    check(Merge::AllSucceeded, &[], &["+OK\r\n", error], error);
    check(Merge::Info, &[], &["$0\r\n\r\n", error], error);
    check(Merge::Sum, &[], &["!5\r\nERR x\r\n"], "!5\r\nERR x\r\n");
    // contract: R6, an error inside is data
    check(
        Merge::ByKey,
        &[0],
        &["*1\r\n-ERR inside\r\n"],
        "*1\r\n-ERR inside\r\n",
    );
}

/// contract: M4
#[test]
fn policies() {
    check(Merge::Sum, &[], &[":1\r\n", ":2\r\n"], ":3\r\n");
    check(
        Merge::Sum,
        &[],
        &[":9223372036854775807\r\n", ":1\r\n"],
        ":9223372036854775807\r\n",
    );
    check(Merge::Min, &[], &[":3\r\n", ":-2\r\n", ":7\r\n"], ":-2\r\n");
    let parts = ["*2\r\n:1\r\n:2\r\n", "*2\r\n:0\r\n:3\r\n"];
    check(Merge::Min, &[], &parts, "*2\r\n:0\r\n:2\r\n");
    check(Merge::Max, &[], &[":3\r\n", ":-2\r\n", ":7\r\n"], ":7\r\n");
    check(Merge::AllSucceeded, &[], &["+OK\r\n", "+OK\r\n"], "+OK\r\n");
    let idle = "-NOTBUSY No scripts in execution right now.\r\n";
    check(Merge::OneSucceeded, &[], &[idle, "+OK\r\n"], "+OK\r\n");
    check(Merge::OneSucceeded, &[], &[idle, idle], idle);
    check(
        Merge::OneSucceeded,
        &[],
        &[idle, "-UNKILLABLE x\r\n"],
        "-UNKILLABLE x\r\n",
    );
    check(
        Merge::LogicalAnd,
        &[],
        &["*2\r\n:1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"],
        "*2\r\n:0\r\n:1\r\n",
    );
    check(Merge::LogicalAnd, &[], &[":1\r\n", ":0\r\n"], ":0\r\n");
    check(Merge::LogicalAnd, &[], &[":1\r\n", ":1\r\n"], ":1\r\n");
    check(
        Merge::Concat,
        &[],
        &[
            "*0\r\n",
            "*-1\r\n",
            "*1\r\n$1\r\na\r\n",
            "*1\r\n$1\r\na\r\n",
        ],
        "*2\r\n$1\r\na\r\n$1\r\na\r\n",
    );
    check(
        Merge::Concat,
        &[],
        &["~1\r\n+a\r\n", "~1\r\n+b\r\n"],
        "~2\r\n+a\r\n+b\r\n",
    );
    check(
        Merge::Concat,
        &[],
        &["%1\r\n+a\r\n:1\r\n", "%1\r\n+b\r\n:2\r\n"],
        "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n",
    );
    check(Merge::Concat, &[], &["+OK\r\n", "+OK\r\n"], "+OK\r\n");
    check(
        Merge::Union,
        &[],
        &["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*1\r\n$1\r\na\r\n"],
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    );
    check(
        Merge::Union,
        &[],
        &["%1\r\n+a\r\n:1\r\n", "%2\r\n+a\r\n:2\r\n+b\r\n:1\r\n"],
        "%2\r\n+a\r\n:1\r\n+b\r\n:1\r\n",
    );
    check(
        Merge::SumByName,
        &[],
        &[
            "*4\r\n+a\r\n:1\r\n+a\r\n:1\r\n",
            "*4\r\n+a\r\n:2\r\n+a\r\n:2\r\n",
        ],
        "*4\r\n+a\r\n:3\r\n+a\r\n:3\r\n",
    );
    check(
        Merge::SumByName,
        &[],
        &["*2\r\n+a\r\n:1\r\n", "*4\r\n+b\r\n:1\r\n+a\r\n:5\r\n"],
        "*4\r\n+a\r\n:6\r\n+b\r\n:1\r\n",
    );
}

/// contract: T7
#[test]
fn streams_of_all_slots() {
    let nil = "*-1\r\n";
    let (one, two) = ("*2\r\n+a\r\n*0\r\n", "*2\r\n+b\r\n*0\r\n");
    let array = |streams: &[&str]| format!("*{}\r\n{}", streams.len(), streams.concat());
    let both = array(&[one, two]);
    check(
        Merge::Streams,
        &[],
        &[&array(&[one]), nil, &array(&[two])],
        &both,
    );
    check(Merge::Streams, &[], &[nil, &both, nil], &both);
    check(Merge::Streams, &[], &[nil, nil], nil);
    check(Merge::Streams, &[], &["_\r\n", "_\r\n"], "_\r\n");
    check(
        Merge::Streams,
        &[],
        &["_\r\n", "%1\r\n+a\r\n*0\r\n", "%1\r\n+b\r\n*0\r\n"],
        "%2\r\n+a\r\n*0\r\n+b\r\n*0\r\n",
    );
    check(
        Merge::Streams,
        &[],
        &[&both, "-NOGROUP x\r\n"],
        "-NOGROUP x\r\n",
    );
}

/// contract: F8
#[test]
fn parts_that_do_not_fit_are_an_error_of_ours() {
    let check = |merge, order: &[u32], parts: &[&str], reason: &str| {
        // Which part does not fit, its first bytes tell.
        let number = reason
            .strip_prefix("part ")
            .and_then(|rest| rest.split(' ').next());
        let part = number.and_then(|number| parts.get(number.parse::<usize>().ok()?));
        let said = part.map(|part| {
            let start = part.as_bytes()[..part.len().min(40)].escape_ascii();
            format!("; the node said '{start}'")
        });
        let said = said.unwrap_or_default();
        let expected = format!("-ERR Keyway cannot merge the nodes' replies: {reason}{said}\r\n");
        check(merge, order, parts, &expected);
    };
    let one = "*1\r\n$1\r\na\r\n";
    check(
        Merge::Sum,
        &[],
        &[":1\r\n", "+1\r\n"],
        "part 1 of the reply is no integer",
    );
    check(Merge::Sum, &[], &[], "no node answered");
    check(Merge::Concat, &[], &[], "no node answered");
    check(
        Merge::ByKey,
        &[0],
        &["+OK\r\n"],
        "part 0 of the reply is no array",
    );
    let count = "has another number of elements than it was asked for";
    check(
        Merge::ByKey,
        &[0, 1, 1],
        &[one, one],
        &format!("part 1 of the reply {count}"),
    );
    check(
        Merge::ByKey,
        &[0],
        &[one, one],
        &format!("part 1 of the reply {count}"),
    );
    check(
        Merge::ByKey,
        &[7],
        &[one],
        &format!("part 7 of the reply {count}"),
    );
    check(
        Merge::LogicalAnd,
        &[],
        &["*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n"],
        &format!("part 1 of the reply {count}"),
    );
    check(
        Merge::SumByName,
        &[],
        &["*1\r\n+a\r\n"],
        &format!("part 0 of the reply {count}"),
    );
    check(
        Merge::Info,
        &[],
        &["$-1\r\n"],
        "part 0 of the reply is no text",
    );
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        Frame::Null => write::null(&mut out, Protocol::Resp2),
        Frame::Integer(number) => write::integer(&mut out, *number),
        Frame::BulkString(bytes) => write::bulk(&mut out, bytes),
        Frame::Array(frames) => {
            write::array(&mut out, frames.len());
            for frame in frames {
                out.extend(encode(frame));
            }
        }
        Frame::SimpleString(text) => write::simple(&mut out, &String::from_utf8_lossy(text)),
        Frame::Error(text) => write::error(&mut out, text),
    }
    out
}

fn decoded(bytes: &[u8]) -> Frame {
    let (frame, len) = decode(bytes).expect("a reply").expect("a whole reply");
    assert_eq!(len, bytes.len());
    frame
}

fn value() -> impl Strategy<Value = Frame> {
    let leaf = prop_oneof![
        Just(Frame::Null),
        any::<i64>().prop_map(Frame::Integer),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Frame::BulkString),
        Just(Frame::Error("WRONGTYPE inside".to_owned())),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        proptest::collection::vec(inner, 0..3).prop_map(Frame::Array)
    })
}

proptest! {
    /// contract: M1 M6
    #[test]
    fn by_key_is_what_one_server_would_say(
        keys in proptest::collection::vec((value(), 0u32..5), 1..40),
    ) {
        let mut parts = vec![Vec::new(); 5];
        for (value, part) in &keys {
            parts[*part as usize].push(value.clone());
        }
        let parts: Vec<_> = parts.into_iter().map(|part| encode(&Frame::Array(part))).collect();
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let order: Vec<_> = keys.iter().map(|(_, part)| *part).collect();
        let expected = Frame::Array(keys.into_iter().map(|(value, _)| value).collect());
        prop_assert_eq!(decoded(&merged(Merge::ByKey, &order, &parts)), expected);
    }

    /// contract: M4
    #[test]
    fn collections_are_those_of_the_oracle(
        parts in proptest::collection::vec(proptest::collection::vec(value(), 0..6), 1..5),
    ) {
        let frames: Vec<_> = parts.iter().map(|part| encode(&Frame::Array(part.clone()))).collect();
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let all: Vec<Frame> = parts.concat();
        let mut distinct: Vec<Frame> = Vec::new();
        for value in &all {
            if !distinct.contains(value) {
                distinct.push(value.clone());
            }
        }
        prop_assert_eq!(decoded(&merged(Merge::Concat, &[], &frames)), Frame::Array(all));
        prop_assert_eq!(decoded(&merged(Merge::Union, &[], &frames)), Frame::Array(distinct));
    }

    #[test]
    fn names_add_up(
        parts in proptest::collection::vec(proptest::collection::vec(any::<i8>(), 3), 1..5),
    ) {
        let frames: Vec<_> = parts.iter().map(|part| {
            let mut out = Vec::new();
            write::array(&mut out, 6);
            for (name, number) in ["a", "b", "c"].iter().zip(part) {
                write::bulk(&mut out, name.as_bytes());
                write::integer(&mut out, i64::from(*number));
            }
            out
        }).collect();
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let sum = |at: usize| parts.iter().map(|part| i64::from(part[at])).sum::<i64>();
        let Frame::Array(merged) = decoded(&merged(Merge::SumByName, &[], &frames)) else {
            return Err(TestCaseError::fail("no array"));
        };
        for at in 0..3 {
            prop_assert_eq!(&merged[at * 2 + 1], &Frame::Integer(sum(at)));
        }
    }

    /// contract: F8
    #[test]
    fn nothing_panics(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4),
        order in proptest::collection::vec(0u32..5, 0..5),
    ) {
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        for merge in [
            Merge::ByKey, Merge::Sum, Merge::Min, Merge::Max, Merge::AllSucceeded,
            Merge::OneSucceeded, Merge::LogicalAnd, Merge::Concat, Merge::Union,
            Merge::SumByName, Merge::Info, Merge::Newest, Merge::ByTime, Merge::LatestEvents,
            Merge::Histograms, Merge::Streams,
        ] {
            merged(merge, &order, &parts);
        }
    }
}

const FIRST: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nprocess_id:9\r\n\
    tcp_port:7001\r\nuptime_in_seconds:5\r\nuptime_in_days:0\r\nlistener0:name=tcp,port=7001\r\n\r\n\
    # Clients\r\nconnected_clients:2\r\nblocked_clients:1\r\nmaxclients:10000\r\n\r\n\
    # Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nused_memory_rss:2097152\r\n\
    maxmemory:100\r\nmaxmemory_human:100B\r\nmaxmemory_policy:noeviction\r\n\
    mem_fragmentation_ratio:9.99\r\n\r\n\
    # Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\n\r\n\
    # Stats\r\nkeyspace_hits:3\r\ninstantaneous_input_kbps:0.03\r\n\r\n\
    # Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.1,port=1\r\n\
    master_repl_offset:77\r\n\r\n\
    # CPU\r\nused_cpu_sys:1.500000\r\n\r\n\
    # Modules\r\nmodule:name=a,ver=1\r\nmodule:name=b,ver=1\r\n\r\n\
    # Commandstats\r\ncmdstat_get:calls=2,usec=10,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r\n\r\n\
    # Cluster\r\ncluster_enabled:1\r\n\r\n\
    # Keyspace\r\n";
const SECOND: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n\r\n\
    # Clients\r\nconnected_clients:4\r\nblocked_clients:2\r\n\r\n\
    # Memory\r\nused_memory:1048576\r\nused_memory_rss:1048576\r\nmaxmemory:50\r\n\r\n\
    # Persistence\r\nloading:1\r\nrdb_last_bgsave_status:err\r\n\r\n\
    # Stats\r\nkeyspace_hits:4\r\ninstantaneous_input_kbps:0.04\r\n\r\n\
    # CPU\r\nused_cpu_sys:0.250000\r\n\r\n\
    # Modules\r\nmodule:name=a,ver=1\r\n\r\n\
    # Commandstats\r\ncmdstat_get:calls=2,usec=2,usec_per_call=1.00,rejected_calls=1,failed_calls=0\r\n\
    cmdstat_set:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n\r\n\
    # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=500\r\n";

/// contract: C3 C6
#[test]
fn info_is_one_servers() {
    let facts = InfoFacts {
        is_shown: true,
        version: "0.1.0",
        run_id: "r",
        process_id: 42,
        tcp_port: 6379,
        uptime_seconds: 90_000,
        connected_clients: 11,
        blocked_clients: 5,
        clients_max: 500,
        executable: "/usr/bin/keyway",
        config_file: "",
        topology_version: 6,
        primaries: 2,
        replicas: 1,
    };
    let plan = MergePlan::new(Merge::Info, Protocol::Resp3);
    let verbatim = |text: &str| {
        let mut out = Vec::new();
        write::verbatim(&mut out, Protocol::Resp3, text.as_bytes());
        out
    };
    let parts = [verbatim(FIRST), verbatim(SECOND)];
    let mut out = Vec::new();
    super::merge(&plan, parts.iter().map(Vec::as_slice), &facts, &mut out);
    let text = crate::resp::reply::text(&out).expect("a verbatim string");
    let expected = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nprocess_id:42\r\n\
        tcp_port:6379\r\nuptime_in_seconds:90000\r\nuptime_in_days:1\r\n\r\n\
        # Clients\r\nconnected_clients:11\r\nblocked_clients:5\r\nmaxclients:500\r\n\r\n\
        # Memory\r\nused_memory:2097152\r\nused_memory_human:2.00M\r\nused_memory_rss:3145728\r\n\
        maxmemory:150\r\nmaxmemory_human:150B\r\nmaxmemory_policy:noeviction\r\n\
        mem_fragmentation_ratio:1.50\r\n\r\n\
        # Persistence\r\nloading:1\r\nrdb_last_bgsave_status:err\r\n\r\n\
        # Stats\r\nkeyspace_hits:7\r\ninstantaneous_input_kbps:0.07\r\n\r\n\
        # Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n\r\n\
        # CPU\r\nused_cpu_sys:1.750000\r\n\r\n\
        # Modules\r\nmodule:name=a,ver=1\r\nmodule:name=b,ver=1\r\n\r\n\
        # Commandstats\r\n\
        cmdstat_get:calls=4,usec=12,usec_per_call=3.00,rejected_calls=1,failed_calls=0\r\n\
        cmdstat_set:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n\r\n\
        # Cluster\r\ncluster_enabled:0\r\n\r\n\
        # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=500\r\n\r\n\
        # Keyway\r\nkeyway_version:0.1.0\r\ntopology_version:6\r\nprimaries:2\r\nreplicas:1\r\n";
    assert_eq!(String::from_utf8_lossy(text), expected);
}

#[test]
fn info_of_one_section_has_no_keyway() {
    check(
        Merge::Info,
        &[],
        &["$30\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n"],
        "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n",
    );
    check(Merge::Info, &[], &["$0\r\n\r\n"], "$0\r\n\r\n");
}
