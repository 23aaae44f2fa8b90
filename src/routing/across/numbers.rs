//! Numbers as the servers read them, which is as C's `strtod` does.

/// A floating-point number that fills the whole text, as the servers' `getDoubleFromObject` takes it:
/// decimal or hexadecimal, `inf`, no space before it, not a number refused, and neither too large nor
/// so small that it becomes 0.
pub(super) fn parse_double(text: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = match digits {
        [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
        _ => decimal(digits)?,
    };
    Some(if is_negative { -value } else { value })
}

fn decimal(digits: &[u8]) -> Option<f64> {
    if [&b"inf"[..], b"infinity"]
        .iter()
        .any(|name| digits.eq_ignore_ascii_case(name))
    {
        return Some(f64::INFINITY);
    }
    // What follows takes a sign, and words, which were dealt with.
    if !matches!(digits.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    let value: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let mantissa = digits.split(|byte| matches!(byte, b'e' | b'E')).next()?;
    let is_zero = !mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    (value.is_finite() && (value != 0.0 || is_zero)).then_some(value)
}

/// `1.8p3` behind its `0x`.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'p' | b'P')) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 60 bits are more than a double keeps; what is below them only decides which way a tie goes.
    let (mut bits, mut exponent_shift, mut is_inexact) = (0u64, 0i64, false);
    for (index, digit) in whole.iter().chain(fraction).enumerate() {
        let digit = u64::from(char::from(*digit).to_digit(16)?);
        if bits >> 56 == 0 {
            bits = bits << 4 | digit;
        } else {
            is_inexact |= digit != 0;
            exponent_shift += 4;
        }
        if index >= whole.len() {
            exponent_shift -= 4;
        }
    }
    bits = bits << 1 | u64::from(is_inexact);
    exponent_shift -= 1;
    let exponent = match exponent {
        Some(text) => signed(text)?,
        None => 0,
    };
    let value = scale(bits, exponent_shift.saturating_add(exponent));
    (value.is_finite() && (value != 0.0 || bits == 0)).then_some(value)
}

fn signed(text: &[u8]) -> Option<i64> {
    let digits = match text {
        [b'-' | b'+', rest @ ..] => rest,
        rest => rest,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // One that does not fit is too large or too small for any number.
    let limit = 1 << 40;
    let number = digits.iter().fold(0i64, |number, digit| {
        (number * 10 + i64::from(digit - b'0')).min(limit)
    });
    Some(if text.first() == Some(&b'-') {
        -number
    } else {
        number
    })
}

/// `bits * 2^exponent`, rounded once.
fn scale(bits: u64, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    // The highest bit of the result is worth 2^top.
    let top = exponent.saturating_add(63 - i64::from(bits.leading_zeros()));
    if top > 1023 {
        return f64::INFINITY;
    }
    if top < -1080 {
        return 0.0;
    }
    // So many bits of a double are left for it: 53, fewer below 2^-1022.
    let lowest = (top - 52).max(-1074);
    let drop = lowest - exponent;
    let (kept, power) = if drop <= 0 {
        (bits, exponent)
    } else if drop > 64 {
        (0, lowest)
    } else {
        let wide = u128::from(bits);
        let half = 1u128 << (drop - 1);
        let rest = wide & ((half << 1) - 1);
        let kept = wide >> drop;
        let is_up = rest > half || (rest == half && kept & 1 == 1);
        ((kept + u128::from(is_up)) as u64, lowest)
    };
    // Both steps are exact: the first factor has at most 53 bits, and the powers are of two.
    let power = power.clamp(-1074, 1023) as i32;
    let (one, two) = (power / 2, power - power / 2);
    kept as f64 * 2f64.powi(one) * 2f64.powi(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_servers_read_them() {
        let cases: &[(&str, Option<f64>)] = &[
            ("1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            ("+.5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1E+3", Some(1000.0)),
            ("0", Some(0.0)),
            ("0e99999", Some(0.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("4e-320", Some(4e-320)),
            ("0x10", Some(16.0)),
            ("-0X1.8p3", Some(-12.0)),
            ("0x.8", Some(0.5)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1080", None),
            ("0x1p1024", None),
            ("0x1.fffffffffffff7", Some(1.9999999999999998)),
            ("0x1.fffffffffffff8", Some(2.0)),
            ("0x1.00000000000008", Some(1.0)),
            ("0x1.000000000000080000000000001", Some(1.0000000000000002)),
            ("0x", None),
            ("0x1p", None),
            ("1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("", None),
            ("+", None),
            ("--1", None),
            ("+-1", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
            ("1e", None),
            ("infx", None),
            (".", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text.as_bytes()), *expected, "{text:?}");
        }
    }
}
