//! The scanners of the hot path against the `redis-protocol` crate, which decodes what they only frame:
//! any stream of requests or replies, cut in every way.

use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::OwnedFrame as Resp2;
use redis_protocol::resp3::types::{OwnedFrame as Resp3, Resp3Frame};

use keyway::resp::Args;
use keyway::resp::reply::{ReplyScanner, elements};
use keyway::resp::scan::{Limits, RequestScanner, Scanned};
use keyway::resp::write;

const LIMITS: Limits = Limits {
    bulk_bytes_max: 1 << 20,
    request_bytes_max: 1 << 30,
    is_authenticated: true,
};

/// Bytes that look like the protocol, so that framing by content would go wrong.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'*'), Just(b'1')],
            0..12
        ),
        Just(Vec::new()),
        vec(any::<u8>(), 900..1100),
    ]
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(argument(), 1..8)
}

/// Feeds a stream piece by piece, as a connection does, and returns the requests found.
fn scan_requests(stream: &[u8], cuts: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let mut scanner = RequestScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        while start < end {
            match scanner
                .scan(&stream[start..end], &LIMITS)
                .expect("these are requests")
            {
                Scanned::Request { len } => {
                    let args = Args::new(&stream[start..start + len], scanner.spans());
                    found.push(args.iter().map(<[u8]>::to_vec).collect());
                    start += len;
                    scanner.reset();
                }
                Scanned::Incomplete { wanted } => {
                    assert!(wanted > end - start && wanted <= stream.len() - start);
                    break;
                }
                other => panic!("{other:?} where a request was written"),
            }
        }
    }
    found
}

fn leaf() -> impl Strategy<Value = Resp3> {
    prop_oneof![
        argument().prop_map(|data| Resp3::BlobString {
            data,
            attributes: None
        }),
        argument().prop_map(|data| Resp3::BlobError {
            data,
            attributes: None
        }),
        "[a-zA-Z ]{0,20}".prop_map(|text| Resp3::SimpleString {
            data: text.into_bytes(),
            attributes: None
        }),
        "[a-zA-Z ]{0,20}".prop_map(|text| Resp3::SimpleError {
            data: text,
            attributes: None
        }),
        any::<i64>().prop_map(|data| Resp3::Number {
            data,
            attributes: None
        }),
        any::<bool>().prop_map(|data| Resp3::Boolean {
            data,
            attributes: None
        }),
        (-1e9..1e9).prop_map(|data| Resp3::Double {
            data,
            attributes: None
        }),
        Just(Resp3::Null),
    ]
}

fn reply() -> impl Strategy<Value = Resp3> {
    leaf().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|data| Resp3::Array {
                data,
                attributes: None
            }),
            vec(inner, 0..6).prop_map(|data| Resp3::Push {
                data,
                attributes: None
            }),
        ]
    })
}

fn encode(frame: &Resp3) -> Vec<u8> {
    let mut bytes = vec![0; frame.encode_len(false)];
    redis_protocol::resp3::encode::complete::encode(&mut bytes, frame, false)
        .expect("the frame can be written");
    bytes
}

fn scan_replies(stream: &[u8], cuts: &[usize]) -> Vec<usize> {
    let mut scanner = ReplyScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        while start < end {
            match scanner
                .scan(&stream[start..end])
                .expect("these are replies")
            {
                Some(len) => {
                    found.push(len);
                    start += len;
                }
                None => break,
            }
        }
    }
    found
}

/// Places to cut, in order.
fn cuts(len: usize, seeds: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = seeds.iter().map(|seed| seed.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    /// contract: P3 P4
    #[test]
    fn requests_are_found_however_they_are_cut(
        requests in vec(request(), 1..6),
        seeds in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for request in &requests {
            let start = stream.len();
            write::command(&mut stream, request);
            let (frame, len) = redis_protocol::resp2::decode::decode(&stream[start..])
                .expect("a frame").expect("a whole one");
            prop_assert_eq!(len, stream.len() - start);
            let words = request.iter().map(|word| Resp2::BulkString(word.clone())).collect();
            prop_assert_eq!(frame, Resp2::Array(words));
        }
        prop_assert_eq!(&scan_requests(&stream, &cuts(stream.len(), &seeds)), &requests);
    }

    /// Every place at which two halves can be parted.
    #[test]
    fn a_request_is_found_at_every_cut(request in vec(vec(any::<u8>(), 0..12), 1..5)) {
        let mut stream = Vec::new();
        write::command(&mut stream, &request);
        for cut in 0..=stream.len() {
            prop_assert_eq!(scan_requests(&stream, &[cut]), vec![request.clone()]);
        }
        let every: Vec<usize> = (0..=stream.len()).collect();
        prop_assert_eq!(scan_requests(&stream, &every), vec![request]);
    }

    /// contract: P4 P6
    #[test]
    fn replies_are_found_however_they_are_cut(
        replies in vec(reply(), 1..5),
        seeds in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        let mut lengths = Vec::new();
        for reply in &replies {
            let bytes = encode(reply);
            let (_, len) = redis_protocol::resp3::decode::complete::decode(&bytes)
                .expect("a frame").expect("a whole one");
            lengths.push(len);
            stream.extend_from_slice(&bytes);
            if let Resp3::Array { data, .. } = reply {
                let parts: Vec<&[u8]> = elements(&bytes).expect("an aggregate").collect();
                prop_assert_eq!(parts, data.iter().map(encode).collect::<Vec<_>>());
            }
        }
        prop_assert_eq!(&scan_replies(&stream, &cuts(stream.len(), &seeds)), &lengths);
        let every: Vec<usize> = (0..=stream.len()).collect();
        prop_assert_eq!(&scan_replies(&stream, &every), &lengths);
    }

    /// contract: F8
    #[test]
    fn garbage_panics_nobody(bytes in vec(any::<u8>(), 0..200)) {
        let _ = RequestScanner::default().scan(&bytes, &LIMITS);
        let _ = ReplyScanner::default().scan(&bytes);
        let _ = elements(&bytes).map(|elements| elements.take(1000).count());
    }
}
