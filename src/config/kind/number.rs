//! Numbers, amounts of bytes and durations.

use std::time::Duration;

use super::{Kind, Shape};

/// A whole number from `MIN` to `MAX`.
pub struct Count<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Kind for Count<MIN, MAX> {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(text: &str) -> Option<usize> {
        whole(text).filter(|number| (MIN..=MAX).contains(number))
    }
}

/// A number of worker threads, or `auto`.
pub struct Workers;

impl Kind for Workers {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!("\"auto\" or {}", Count::<1, 1024>::allowed())
    }

    fn read(text: &str) -> Option<usize> {
        if text != "auto" {
            return Count::<1, 1024>::read(text);
        }
        // On Linux the standard library takes the least of the CPUs in the affinity mask and the
        // whole CPUs of the cgroup's quota, version 1 and 2, and at least 1.
        Some(std::thread::available_parallelism().map_or(1, |cpus| cpus.get()))
    }
}

/// A number of bytes with Redis' suffixes, from `MIN` to `MAX` bytes.
pub struct Bytes<const MIN: usize, const MAX: usize>;

/// Redis' suffixes: with a `b` powers of 1024, without powers of 1000.
const BYTE_SUFFIXES: [(&str, usize); 8] = [
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

impl<const MIN: usize, const MAX: usize> Kind for Bytes<MIN, MAX> {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!(
            "a number of bytes such as 65536, \"64kb\" or \"1mb\", from {} to {}",
            bytes_text(MIN),
            bytes_text(MAX)
        )
    }

    fn read(text: &str) -> Option<usize> {
        let lower = text.to_ascii_lowercase();
        let (digits, factor) = BYTE_SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| Some((lower.strip_suffix(suffix)?, *factor)))?;
        let bytes = whole(digits)?.checked_mul(factor)?;
        (MIN..=MAX).contains(&bytes).then_some(bytes)
    }
}

/// Digits only: no sign, no space, which `parse` would let pass or not depending on the type.
fn whole(digits: &str) -> Option<usize> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Bytes in the largest unit that divides them.
fn bytes_text(bytes: usize) -> String {
    for (suffix, factor) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{suffix}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// A duration with its unit, from `MIN_MS` to `MAX_MS` milliseconds.
pub struct Time<const MIN_MS: u64, const MAX_MS: u64>;

impl<const MIN_MS: u64, const MAX_MS: u64> Kind for Time<MIN_MS, MAX_MS> {
    type Value = Duration;

    fn allowed() -> String {
        format!(
            "a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from {} to {}",
            time_text(MIN_MS),
            time_text(MAX_MS)
        )
    }

    fn read(text: &str) -> Option<Duration> {
        let (digits, factor) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .iter()
            .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
        let ms = u64::try_from(whole(digits)?).ok()?.checked_mul(factor)?;
        (MIN_MS..=MAX_MS)
            .contains(&ms)
            .then(|| Duration::from_millis(ms))
    }
}

/// A time in the largest unit that divides it.
fn time_text(ms: u64) -> String {
    for (suffix, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms.is_multiple_of(factor) && (ms > 0 || suffix == "s") {
            return format!("{}{suffix}", ms / factor);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn bytes_take_redis_suffixes() {
        check::<Bytes<1, { 1 << 30 }>>(&[
            ("1", Some(1)),
            ("1k", Some(1_000)),
            ("1kb", Some(1_024)),
            ("64KB", Some(65_536)),
            ("2m", Some(2_000_000)),
            ("512mb", Some(512 << 20)),
            ("1gb", Some(1 << 30)),
            ("7b", Some(7)),
            ("0", None),
            ("2gb", None),
            ("", None),
            ("mb", None),
            ("-1", None),
            ("+1", None),
            ("1 mb", None),
            ("1.5mb", None),
            ("99999999999999999999gb", None),
        ]);
    }

    #[test]
    fn durations_need_a_unit() {
        let ms = |ms| Some(Duration::from_millis(ms));
        check::<Time<0, 3_600_000>>(&[
            ("0s", ms(0)),
            ("250ms", ms(250)),
            ("20s", ms(20_000)),
            ("5m", ms(300_000)),
            ("1h", ms(3_600_000)),
            ("2h", None),
            ("20", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("20 s", None),
            ("20sec", None),
        ]);
        check::<Time<100, 1_000>>(&[("99ms", None), ("100ms", ms(100)), ("1s", ms(1_000))]);
    }

    #[test]
    fn counts_and_workers() {
        check::<Count<1, 10>>(&[("1", Some(1)), ("10", Some(10)), ("11", None), ("0", None)]);
        check::<Workers>(&[("4", Some(4)), ("0", None), ("Auto", None)]);
        assert!(Workers::read("auto").is_some_and(|workers| workers >= 1));
    }

    #[test]
    fn what_is_allowed_reads_well() {
        assert_eq!(
            Time::<100, 3_600_000>::allowed(),
            "a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from 100ms to 1h"
        );
        assert!(Bytes::<1, { 512 << 20 }>::allowed().ends_with("from 1 to 512mb"));
    }
}
