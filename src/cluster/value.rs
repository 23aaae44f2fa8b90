//! A decoded reply about the topology, in either protocol version.
//!
//! Only for replies off the path of a request. The frames of `redis-protocol` are flattened to the
//! few shapes that the view parsers ask for: a RESP3 map becomes the flat list that RESP2 has.

use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::types::OwnedFrame as Frame3;

use crate::resp::reply::ReplyScanner;
use crate::resp::scan::parse_integer;
use crate::resp::{Protocol, write};

/// Decoding recurses, so that the nesting is limited. `CLUSTER SHARDS` needs four levels.
const DEPTH_MAX: usize = 16;

/// One decoded value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any null.
    Null,
    /// A number.
    Integer(i64),
    /// Any kind of string, or a scalar type that no topology reply uses, as text.
    Text(Vec<u8>),
    /// An error, without its `-`.
    Error(String),
    /// An array, set or push; a map as key, value, key, value ...
    List(Vec<Value>),
}

/// The bytes are no reply, or one that is nested absurdly deep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's reply cannot be decoded")]
pub struct ValueError;

impl Value {
    /// Decodes one whole reply.
    ///
    /// # Errors
    /// The bytes are not exactly one reply of this version.
    pub fn decode(bytes: &[u8], protocol: Protocol) -> Result<Value, ValueError> {
        // The scanner needs no stack; after it every announced count is known to be backed by bytes.
        let len = ReplyScanner::default()
            .scan(bytes)
            .map_err(|_| ValueError)?
            .ok_or(ValueError)?;
        if len != bytes.len() || !is_shallow(bytes) {
            return Err(ValueError);
        }
        match protocol {
            Protocol::Resp2 => match redis_protocol::resp2::decode::decode(bytes) {
                Ok(Some((frame, _))) => Ok(from_resp2(frame)),
                Ok(None) | Err(_) => Err(ValueError),
            },
            Protocol::Resp3 => match redis_protocol::resp3::decode::complete::decode(bytes) {
                Ok(Some((frame, _))) => Ok(from_resp3(frame)),
                Ok(None) | Err(_) => Err(ValueError),
            },
        }
    }

    /// Encodes it, for a client of this version.
    pub fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        match self {
            Value::Null => write::null(out, protocol),
            Value::Integer(number) => write::integer(out, *number),
            Value::Text(bytes) => write::bulk(out, bytes),
            Value::Error(text) => write::error(out, text),
            Value::List(values) => {
                write::array(out, values.len());
                // No deeper than what was decoded.
                values.iter().for_each(|value| value.write(protocol, out));
            }
        }
    }

    /// The text, if it is one and UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Value::Null | Value::Integer(_) | Value::Error(_) | Value::List(_) => None,
        }
    }

    /// The number; also from a text, as some servers write it.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::Text(bytes) => parse_integer(bytes),
            Value::Null | Value::Error(_) | Value::List(_) => None,
        }
    }

    /// The elements.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            Value::Null | Value::Integer(_) | Value::Text(_) | Value::Error(_) => None,
        }
    }

    /// What stands behind `key` in a map (or in the flat list of RESP2).
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.list()?
            .chunks_exact(2)
            .find(|pair| pair[0].text() == Some(key))
            .map(|pair| &pair[1])
    }
}

fn from_resp2(frame: Frame2) -> Value {
    match frame {
        Frame2::SimpleString(bytes) | Frame2::BulkString(bytes) => Value::Text(bytes),
        Frame2::Error(text) => Value::Error(text),
        Frame2::Integer(number) => Value::Integer(number),
        Frame2::Array(items) => Value::List(items.into_iter().map(from_resp2).collect()),
        Frame2::Null => Value::Null,
    }
}

fn from_resp3(frame: Frame3) -> Value {
    match frame {
        Frame3::BlobString { data, .. }
        | Frame3::SimpleString { data, .. }
        | Frame3::BigNumber { data, .. }
        | Frame3::VerbatimString { data, .. }
        | Frame3::ChunkedString(data) => Value::Text(data),
        Frame3::BlobError { data, .. } => Value::Error(String::from_utf8_lossy(&data).into_owned()),
        Frame3::SimpleError { data, .. } => Value::Error(data),
        Frame3::Boolean { data, .. } => Value::Integer(i64::from(data)),
        Frame3::Double { data, .. } => Value::Text(data.to_string().into_bytes()),
        Frame3::Number { data, .. } => Value::Integer(data),
        Frame3::Array { data, .. } | Frame3::Push { data, .. } => {
            Value::List(data.into_iter().map(from_resp3).collect())
        }
        Frame3::Set { data, .. } => Value::List(data.into_iter().map(from_resp3).collect()),
        Frame3::Map { data, .. } => Value::List(
            data.into_iter()
                .flat_map(|(key, value)| [from_resp3(key), from_resp3(value)])
                .collect(),
        ),
        Frame3::Null | Frame3::Hello { .. } => Value::Null,
    }
}

/// Whether a whole reply is nested at most [`DEPTH_MAX`] deep.
fn is_shallow(bytes: &[u8]) -> bool {
    let mut open: Vec<u64> = Vec::new();
    let mut position = 0;
    while let Some(&kind) = bytes.get(position) {
        let rest = &bytes[position..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return false;
        };
        let number = || parse_integer(rest.get(1..end - 1)?).and_then(|n| u64::try_from(n).ok());
        position += end + 1;
        let children = match kind {
            b'$' | b'=' | b'!' => {
                position += number().map_or(0, |len| len as usize + 2);
                0
            }
            b'*' | b'~' | b'>' => number().unwrap_or(0),
            // The value an attribute belongs to counts as its child.
            b'|' => number().unwrap_or(0).saturating_mul(2).saturating_add(1),
            b'%' => number().unwrap_or(0).saturating_mul(2),
            _ => 0,
        };
        if children > 0 {
            if open.len() == DEPTH_MAX {
                return false;
            }
            open.push(children);
            continue;
        }
        while let Some(left) = open.last_mut() {
            *left -= 1;
            if *left > 0 {
                break;
            }
            open.pop();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_versions_look_alike() {
        let resp2 = Value::decode(b"*4\r\n+a\r\n:1\r\n$1\r\nb\r\n$-1\r\n", Protocol::Resp2);
        let value = resp2.expect("well formed");
        assert_eq!(value.field("a").and_then(Value::integer), Some(1));
        assert_eq!(value.field("b"), Some(&Value::Null));
        let resp3 = Value::decode(b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n_\r\n", Protocol::Resp3);
        let value = resp3.expect("well formed");
        assert_eq!(value.field("a").and_then(Value::integer), Some(1));
        assert_eq!(value.field("b"), Some(&Value::Null));
        assert_eq!(value.field("c"), None);
    }

    /// contract: F8
    #[test]
    fn hostile_replies_are_refused() {
        let deep = "*1\r\n".repeat(200_000) + ":1\r\n";
        for bytes in [
            deep.as_bytes(),
            b"*1000000000\r\n",
            b"*1099511627776\r\n:1\r\n",
            b"$-5\r\n",
            b":1\r\n:2\r\n",
            b"",
            b"hello\r\n",
        ] {
            assert_eq!(Value::decode(bytes, Protocol::Resp2), Err(ValueError));
            assert_eq!(Value::decode(bytes, Protocol::Resp3), Err(ValueError));
        }
        let allowed = "*1\r\n".repeat(DEPTH_MAX) + ":1\r\n";
        assert!(Value::decode(allowed.as_bytes(), Protocol::Resp2).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in "[*$%|~:+_0-9a\\-\r\n]{0,40}", raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let _ = Value::decode(bytes.as_bytes(), protocol);
                let _ = Value::decode(&raw, protocol);
            }
        }

        #[test]
        fn nested_shapes(kinds in proptest::collection::vec(prop_oneof![Just("*1\r\n"), Just("%1\r\n+k\r\n"), Just("~1\r\n"), Just("|1\r\n+a\r\n+b\r\n")], 0..40)) {
            let text = kinds.concat() + "_\r\n";
            let _ = Value::decode(text.as_bytes(), Protocol::Resp3);
        }
    }
}
