//! Writing small replies and requests.
//!
//! Everything appends to a `Vec<u8>`, which cannot fail. A reply whose shape differs between the
//! protocol versions takes the version.

use super::Protocol;

/// Appends `number` in decimal.
pub fn decimal(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn line(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

/// `+text`
pub fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `-text`; line breaks inside become spaces, as Redis writes its own errors.
pub fn error(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    out.push(b'-');
    out.extend(text.as_ref().iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    }));
    out.extend_from_slice(b"\r\n");
}

/// `:number`
pub fn integer(out: &mut Vec<u8>, number: i64) {
    line(out, b':', number);
}

/// A RESP3 double, from its decimal text.
pub fn double(out: &mut Vec<u8>, number: &str) {
    out.push(b',');
    out.extend_from_slice(number.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `$len` and the bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The head of an array of `len` elements.
pub fn array(out: &mut Vec<u8>, len: usize) {
    line(out, b'*', len as i64);
}

/// The head of a map of `pairs` pairs; RESP2 has no maps and gets a flat array.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => array(out, pairs * 2),
        Protocol::Resp3 => line(out, b'%', pairs as i64),
    }
}

/// The head of a set; RESP2 has no sets and gets an array.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => array(out, len),
        Protocol::Resp3 => line(out, b'~', len as i64),
    }
}

/// The head of a push; RESP2 has no pushes and gets an array.
pub fn push(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => array(out, len),
        Protocol::Resp3 => line(out, b'>', len as i64),
    }
}

/// The null of an array, which blocking commands and `EXEC` give: `*-1` in RESP2, `_` in RESP3.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The null of a bulk string: `$-1` in RESP2, `_` in RESP3.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// A text that is for people: a bulk string in RESP2, a verbatim string in RESP3 (as `INFO`).
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            line(out, b'=', text.len() as i64 + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A request: an array of bulk strings.
pub fn command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn numbers() {
        check(|out| integer(out, 0), ":0\r\n");
        check(|out| integer(out, -17), ":-17\r\n");
        check(|out| integer(out, i64::MIN), ":-9223372036854775808\r\n");
        check(|out| integer(out, i64::MAX), ":9223372036854775807\r\n");
    }

    #[test]
    fn shapes_follow_the_version() {
        check(|out| null(out, Protocol::Resp2), "$-1\r\n");
        check(|out| null(out, Protocol::Resp3), "_\r\n");
        check(|out| map(out, Protocol::Resp2, 3), "*6\r\n");
        check(|out| map(out, Protocol::Resp3, 3), "%3\r\n");
        check(
            |out| verbatim(out, Protocol::Resp3, b"hi"),
            "=6\r\ntxt:hi\r\n",
        );
        check(
            |out| command(out, &["GET", "k"]),
            "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        );
    }

    #[test]
    fn an_error_stays_one_line() {
        check(|out| error(out, "ERR a\r\nb"), "-ERR a  b\r\n");
    }
}
