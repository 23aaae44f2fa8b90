//! One RESP2 or RESP3 value, each type for itself, and a short notation for it, so that a test can
//! say what it expects and see what it got:
//!
//! ```text
//! +OK   -ERR text   :1   'bulk\r\n'   nil   nil-array   ['a' :1 nil]
//! null   #t   ,1.5   (123   =txt:'text'   ~['a']   >['message' 'c' 'm']   {'a' :1}
//! ```

use std::fmt;
use std::io::{self, ErrorKind};

/// One value. Numbers that have several spellings keep the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*-1`
    NilArray,
    /// `*`
    Array(Vec<Value>),
    /// `_`
    Null,
    /// `#`
    Boolean(bool),
    /// `,`
    Double(String),
    /// `(`
    BigNumber(String),
    /// `!`
    BulkError(Vec<u8>),
    /// `=`, with its three-letter format
    Verbatim(String, Vec<u8>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `|` and the value it belongs to
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

impl Value {
    /// The value at the start of `bytes` and its length; `None` when it is not all there yet.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<(Value, usize)>> {
        let mut rest = Reader { bytes, at: 0 };
        Ok(rest.value()?.map(|value| (value, rest.at)))
    }

    /// A bulk string.
    pub fn bulk(text: impl AsRef<[u8]>) -> Value {
        Value::Bulk(text.as_ref().to_vec())
    }

    /// The bytes of a bulk, simple or verbatim string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(bytes) | Value::Verbatim(_, bytes) => Some(bytes),
            Value::Simple(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The text of a bulk, simple or verbatim string; panics on anything else.
    #[track_caller]
    pub fn text(&self) -> String {
        let bytes = self
            .bytes()
            .unwrap_or_else(|| panic!("not a string: {self}"));
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The integer; panics on anything else.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("not an integer: {other}"),
        }
    }

    /// The elements of an array, set or push; panics on anything else.
    #[track_caller]
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("not an array: {other}"),
        }
    }

    /// The value of a field, in a RESP3 map or a RESP2 array of pairs.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let is_it = |key: &Value| key.bytes() == Some(name.as_bytes());
        match self {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| is_it(key)).map(|(_, v)| v),
            Value::Array(items) => {
                let pair = items.chunks_exact(2).find(|pair| is_it(&pair[0]))?;
                Some(&pair[1])
            }
            _ => None,
        }
    }

    /// The text of an error reply.
    pub fn error(&self) -> Option<String> {
        match self {
            Value::Error(text) => Some(text.clone()),
            Value::BulkError(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// Whether it is an error reply.
    pub fn is_error(&self) -> bool {
        self.error().is_some()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(out, "+{text}"),
            Value::Error(text) => write!(out, "-{text}"),
            Value::Integer(number) => write!(out, ":{number}"),
            Value::Bulk(bytes) => write!(out, "'{}'", bytes.escape_ascii()),
            Value::NilBulk => out.write_str("nil"),
            Value::NilArray => out.write_str("nil-array"),
            Value::Null => out.write_str("null"),
            Value::Boolean(true) => out.write_str("#t"),
            Value::Boolean(false) => out.write_str("#f"),
            Value::Double(text) => write!(out, ",{text}"),
            Value::BigNumber(text) => write!(out, "({text}"),
            Value::BulkError(bytes) => write!(out, "!'{}'", bytes.escape_ascii()),
            Value::Verbatim(format, bytes) => write!(out, "={format}:'{}'", bytes.escape_ascii()),
            Value::Array(items) => write_list(out, "[", items, "]"),
            Value::Set(items) => write_list(out, "~[", items, "]"),
            Value::Push(items) => write_list(out, ">[", items, "]"),
            Value::Map(pairs) => write_pairs(out, "{", pairs),
            Value::Attribute(pairs, value) => {
                write_pairs(out, "|{", pairs)?;
                write!(out, " {value}")
            }
        }
    }
}

fn write_list(
    out: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[Value],
    close: &str,
) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        write!(out, "{gap}{item}")?;
    }
    out.write_str(close)
}

fn write_pairs(out: &mut fmt::Formatter<'_>, open: &str, pairs: &[(Value, Value)]) -> fmt::Result {
    out.write_str(open)?;
    for (index, (key, value)) in pairs.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        write!(out, "{gap}{key} {value}")?;
    }
    out.write_str("}")
}

/// Slow and obvious on purpose: it is what the fast scanner is measured against.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> io::Result<Option<Value>> {
        let Some(line) = self.line() else {
            return Ok(None);
        };
        let Some((&kind, rest)) = line.split_first() else {
            return Err(odd("an empty line where a reply begins", &line));
        };
        let text = String::from_utf8_lossy(rest).into_owned();
        let value = match kind {
            b'+' => Value::Simple(text),
            b'-' => Value::Error(text),
            b':' => Value::Integer(number(&text)?),
            b'_' => Value::Null,
            b'#' if text == "t" => Value::Boolean(true),
            b'#' if text == "f" => Value::Boolean(false),
            b',' => Value::Double(text),
            b'(' => Value::BigNumber(text),
            b'$' if text == "-1" => Value::NilBulk,
            b'*' if text == "-1" => Value::NilArray,
            b'$' => return Ok(self.body(number(&text)?)?.map(Value::Bulk)),
            b'!' => return Ok(self.body(number(&text)?)?.map(Value::BulkError)),
            b'=' => match self.body(number(&text)?)? {
                None => return Ok(None),
                Some(body) if body.len() >= 4 && body[3] == b':' => Value::Verbatim(
                    String::from_utf8_lossy(&body[..3]).into_owned(),
                    body[4..].to_vec(),
                ),
                Some(body) => return Err(odd("a verbatim string without a format", &body)),
            },
            b'*' => return Ok(self.list(number(&text)?)?.map(Value::Array)),
            b'~' => return Ok(self.list(number(&text)?)?.map(Value::Set)),
            b'>' => return Ok(self.list(number(&text)?)?.map(Value::Push)),
            b'%' => return Ok(self.pairs(number(&text)?)?.map(Value::Map)),
            b'|' => {
                let Some(pairs) = self.pairs(number(&text)?)? else {
                    return Ok(None);
                };
                let value = self.value()?;
                return Ok(value.map(|value| Value::Attribute(pairs, Box::new(value))));
            }
            _ => return Err(odd("not a reply", &line)),
        };
        Ok(Some(value))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(rest[..end].to_vec())
    }

    fn body(&mut self, length: i64) -> io::Result<Option<Vec<u8>>> {
        let length = usize::try_from(length).map_err(|_| odd("a negative length", b""))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(odd("a string that does not end in CR LF", rest));
        }
        self.at += length + 2;
        Ok(Some(rest[..length].to_vec()))
    }

    fn list(&mut self, count: i64) -> io::Result<Option<Vec<Value>>> {
        let mut items = Vec::new();
        for _ in 0..count {
            match self.value()? {
                Some(item) => items.push(item),
                None => return Ok(None),
            }
        }
        Ok(Some(items))
    }

    fn pairs(&mut self, count: i64) -> io::Result<Option<Vec<(Value, Value)>>> {
        let Some(items) = self.list(count * 2)? else {
            return Ok(None);
        };
        let mut items = items.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(Some(pairs))
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse()
        .map_err(|_| odd("not a number", text.as_bytes()))
}

fn odd(what: &str, bytes: &[u8]) -> io::Error {
    let shown = &bytes[..bytes.len().min(80)];
    io::Error::new(
        ErrorKind::InvalidData,
        format!("{what}: '{}'", shown.escape_ascii()),
    )
}
