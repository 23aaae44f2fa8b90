//! `PFCOUNT`: the HyperLogLogs of several keys, read as the strings they are, merged and counted as the
//! servers do.
//!
//! Such a string has a header of 16 bytes: `HYLL`, the encoding, three bytes of nothing, and a cached
//! count. Behind it are 16384 registers, each the longest run of zeros (plus one) that was seen
//! among the hashes that fell to it: 6 bits each, the lowest first (dense), or as runs of equal
//! registers (sparse). The registers of a union are the larger ones of each. How a count follows
//! from registers is Otmar Ertl's estimator (arXiv:1702.01284).

use super::{Failure, Misfit};
use crate::resp::reply::text;
use crate::resp::write;

const REGISTERS: usize = 1 << 14;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;
/// The bits of a hash that runs of zeros are looked for in.
const HASH_BITS: usize = 64 - 14;
const ALPHA: f64 = 0.721_347_520_444_481_7;

const NOT_VALID: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "INVALIDOBJ Corrupted HLL object detected";

/// Counts the distinct elements of all keys; each reply is that of a `GET`. The keys are looked at in
/// their order: the first that is not right is the reply.
pub(super) fn count_distinct<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut registers = [0u8; REGISTERS];
    for (part, reply) in replies.enumerate() {
        match reply.first() {
            Some(b'-' | b'!') => {
                out.extend_from_slice(reply);
                return Ok(());
            }
            // Nobody added anything.
            Some(b'_') => {}
            Some(b'$') if reply.starts_with(b"$-1\r\n") => {}
            Some(b'$') => {
                let value = text(reply).ok_or(Misfit(part))?;
                merge(value, &mut registers).map_err(Failure::Refused)?;
            }
            _ => return Err(Misfit(part).into()),
        }
    }
    write::integer(out, estimate(&registers));
    Ok(())
}

/// Raises the registers to those of one HyperLogLog.
fn merge(value: &[u8], registers: &mut [u8; REGISTERS]) -> Result<(), &'static str> {
    let Some((header, body)) = value.split_at_checked(HEADER_BYTES) else {
        return Err(NOT_VALID);
    };
    match header {
        [b'H', b'Y', b'L', b'L', 0, ..] if value.len() == DENSE_BYTES => {
            merge_dense(body, registers);
            Ok(())
        }
        [b'H', b'Y', b'L', b'L', 1, ..] => merge_sparse(body, registers).ok_or(CORRUPTED),
        _ => Err(NOT_VALID),
    }
}

/// Three bytes hold four registers.
fn merge_dense(body: &[u8], registers: &mut [u8; REGISTERS]) {
    for (bytes, four) in body.chunks_exact(3).zip(registers.chunks_exact_mut(4)) {
        let packed = bytes
            .iter()
            .rev()
            .fold(0u32, |packed, byte| packed << 8 | u32::from(*byte));
        for (number, register) in four.iter_mut().enumerate() {
            *register = (*register).max((packed >> (6 * number) & 63) as u8);
        }
    }
}

/// ```text
/// 00LLLLLL            a run of L + 1 registers that are 0
/// 01LLLLLL LLLLLLLL   the same, longer
/// 1VVVVVLL            a run of L + 1 registers that are V + 1
/// ```
/// `None` unless the runs make exactly all registers.
fn merge_sparse(body: &[u8], registers: &mut [u8; REGISTERS]) -> Option<()> {
    let mut at = 0;
    let mut codes = body.iter().copied();
    while let Some(code) = codes.next() {
        match code >> 6 {
            0 => at += usize::from(code & 63) + 1,
            1 => {
                // Behind the end of a string stands a zero.
                let low = codes.next().unwrap_or(0);
                at += (usize::from(code & 63) << 8 | usize::from(low)) + 1;
            }
            _ => {
                let end = at + usize::from(code & 3) + 1;
                let value = (code >> 2 & 31) + 1;
                for register in registers.get_mut(at..end)? {
                    *register = (*register).max(value);
                }
                at = end;
            }
        }
    }
    (at == REGISTERS).then_some(())
}

/// How many distinct elements leave such registers, about.
fn estimate(registers: &[u8; REGISTERS]) -> i64 {
    let mut histogram = [0u32; 64];
    for register in registers {
        if let Some(count) = histogram.get_mut(usize::from(*register)) {
            *count += 1;
        }
    }
    let count_of = |value: usize| f64::from(histogram.get(value).copied().unwrap_or(0));
    let all = REGISTERS as f64;
    let mut sum = all * tau((all - count_of(HASH_BITS + 1)) / all);
    for value in (1..=HASH_BITS).rev() {
        sum += count_of(value);
        sum *= 0.5;
    }
    sum += all * sigma(count_of(0) / all);
    (ALPHA * all * all / sum).round() as i64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * y;
        y += y;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        y *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * y;
        if sum == before {
            return sum / 3.0;
        }
    }
}
