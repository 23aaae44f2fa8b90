//! Scores as the servers write them. Servers up to Redis 7.0 print with C's `%.17g`; Redis 7.2, Valkey
//! and newer ones look for a short form with the Grisu2 algorithm, see [`grisu`](super::grisu).

use super::grisu;
use crate::resp::{Protocol, write};

/// How a server writes floating-point numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubleFormat {
    /// 17 significant digits, without zeros at the end (`0.10000000000000001`).
    Digits17,
    /// Few digits that mean the same number (`0.1`).
    Short,
}

impl DoubleFormat {
    /// That of a server by the `redis_version` it reports, which for Valkey is that of the Redis it
    /// is compatible with. One that does not tell is taken for a newer one.
    pub fn of_server(redis_version: &str) -> DoubleFormat {
        let mut numbers = redis_version.split('.').map(|number| number.parse().ok());
        let version: (Option<u32>, Option<u32>) =
            (numbers.next().flatten(), numbers.next().flatten());
        match version {
            (Some(major), Some(minor)) if (major, minor) < (7, 1) => DoubleFormat::Digits17,
            _ => DoubleFormat::Short,
        }
    }

    /// Appends the reply with this number: a bulk string in RESP2, a double in RESP3.
    pub fn write(self, value: f64, protocol: Protocol, out: &mut Vec<u8>) {
        let text = self.text(value);
        match protocol {
            Protocol::Resp2 => write::bulk(out, text.as_bytes()),
            Protocol::Resp3 => {
                out.push(b',');
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn text(self, value: f64) -> String {
        /// From here on a server does not trust that a double fits an integer.
        const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
        if value.is_infinite() {
            return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
        }
        if value == 0.0 {
            return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
        }
        match self {
            DoubleFormat::Digits17 => digits17(value),
            DoubleFormat::Short if value.abs() <= INTEGER_MAX && value.fract() == 0.0 => {
                (value as i64).to_string()
            }
            DoubleFormat::Short => grisu::text(value),
        }
    }
}

/// `%.17g` of a finite number that is not 0.
fn digits17(value: f64) -> String {
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or(0);
        return without_zeros(&format!("{value:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    format!("{}e{sign}{exponent:02}", without_zeros(mantissa))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_server_writes_how() {
        for (version, format) in [
            ("6.2.14", DoubleFormat::Digits17),
            ("7.0.15", DoubleFormat::Digits17),
            ("7.2.4", DoubleFormat::Short),
            ("8.2.1", DoubleFormat::Short),
            ("255.255.255", DoubleFormat::Short),
            ("", DoubleFormat::Short),
        ] {
            assert_eq!(DoubleFormat::of_server(version), format, "{version}");
        }
    }

    /// Read off servers. contract: M3
    #[test]
    fn what_servers_write() {
        let cases = [
            (0.1, "0.10000000000000001", "0.1"),
            (-2.5, "-2.5", "-2.5"),
            (3.0, "3", "3"),
            (-0.0, "-0", "-0"),
            (1e15, "1000000000000000", "1000000000000000"),
            (1e17, "1e+17", "100000000000000000"),
            (1e18, "1e+18", "1000000000000000000"),
            (1e19, "1e+19", "1e+19"),
            (1e22, "1e+22", "1e+22"),
            (1.5e300, "1.5000000000000001e+300", "1.5e+300"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1.0000000000000001e-05", "0.00001"),
            (1e-7, "9.9999999999999995e-08", "1e-7"),
            (5e-324, "4.9406564584124654e-324", "5e-324"),
            (
                f64::MAX,
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ];
        for (value, digits, short) in cases {
            assert_eq!(DoubleFormat::Digits17.text(value), digits, "{value}");
            assert_eq!(DoubleFormat::Short.text(value), short, "{value}");
        }
        let mut out = Vec::new();
        DoubleFormat::Short.write(0.5, Protocol::Resp2, &mut out);
        DoubleFormat::Short.write(0.5, Protocol::Resp3, &mut out);
        assert_eq!(out, b"$3\r\n0.5\r\n,0.5\r\n");
    }
}
