//! Numbers in few digits, by Florian Loitsch's Grisu2 ("Printing Floating-Point Numbers Quickly and
//! Accurately with Integers", 2010), which the servers use.
//!
//! It must be this algorithm and not a better one: about one number in a thousand does not get its
//! shortest digits from it, and a reply should be the server's to the last digit. For the same
//! reason the powers of ten, 10^-348 to 10^340 in steps of 8, and which of two that fit is taken, are
//! those of the servers.
//!
//! The idea: the number and the two halfway points to its neighbours are multiplied by a power of ten
//! that brings them to a fixed range of exponents, in 64-bit arithmetic. The interval between the
//! halfway points is made smaller by what that may have lost. Digits are then written until what is
//! left lies in the interval, and the last one is moved towards the number itself.

use std::sync::LazyLock;

/// `fraction * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scaled {
    fraction: u64,
    exponent: i32,
}

impl Scaled {
    /// The same number with the highest bit set.
    fn normalized(self) -> Scaled {
        let shift = self.fraction.leading_zeros();
        Scaled {
            fraction: self.fraction << shift,
            exponent: self.exponent - shift as i32,
        }
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Scaled) -> Scaled {
        let product = u128::from(self.fraction) * u128::from(other.fraction);
        Scaled {
            fraction: ((product + (1 << 63)) >> 64) as u64,
            exponent: self.exponent + other.exponent + 64,
        }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;
const POWERS: i32 = 87;
/// The products have exponents in this range: 32 bits and more for digits before the point, and room to
/// multiply by 10 behind it.
const PRODUCT_EXPONENTS: std::ops::RangeInclusive<i32> = -60..=-32;

static TABLE: LazyLock<Vec<Scaled>> = LazyLock::new(|| {
    (0..POWERS)
        .map(|index| power_of_ten(FIRST_POWER + index * POWER_STEP))
        .collect()
});

/// 10^power, rounded to 64 bits. 10^n is 5^n * 2^n, so only the power of 5 takes work: long
/// multiplication for a positive one, long division of a large power of two for a negative one.
fn power_of_ten(power: i32) -> Scaled {
    /// The dividend is 2^this; 5^348 has 809 bits, so more than 64 bits of each quotient are left.
    const DIVIDEND_BITS: i32 = 1024;
    // Words of 32 bits, the lowest first.
    let mut words = vec![1u32];
    let mut exponent = power;
    if power >= 0 {
        for _ in 0..power {
            let mut carry = 0u64;
            for word in &mut words {
                carry += u64::from(*word) * 5;
                *word = carry as u32;
                carry >>= 32;
            }
            if carry > 0 {
                words.push(carry as u32);
            }
        }
    } else {
        words = vec![0; DIVIDEND_BITS as usize / 32];
        words.push(1);
        exponent -= DIVIDEND_BITS;
        for _ in power..0 {
            let mut rest = 0u64;
            for word in words.iter_mut().rev() {
                rest = rest << 32 | u64::from(*word);
                *word = (rest / 5) as u32;
                rest %= 5;
            }
        }
    }
    while words.last() == Some(&0) {
        words.pop();
    }
    // The highest four words hold at least 97 bits; one more bit than 64 decides the rounding, and no
    // power lies so near to half that what is below matters.
    let highest = words.iter().rev().take(4);
    let kept = highest.len();
    let top = highest.fold(0u128, |top, word| top << 32 | u128::from(*word));
    exponent += 32 * (words.len() - kept) as i32;
    let bits = 128 - top.leading_zeros() as i32;
    if bits <= 64 {
        return Scaled {
            fraction: top as u64,
            exponent,
        }
        .normalized();
    }
    let drop = bits - 64;
    let rounded = (top >> drop) + (top >> (drop - 1) & 1);
    Scaled {
        fraction: rounded as u64,
        exponent: exponent + drop,
    }
}

/// The power that brings a number with this exponent into range, and which power of ten it is.
fn power_for(exponent: i32) -> (Scaled, i32) {
    const LOG10_OF_2: f64 = 0.301_029_995_663_981_14;
    let estimate = (f64::from(-(exponent + POWERS)) * LOG10_OF_2) as i32;
    let mut index = (estimate - FIRST_POWER) / POWER_STEP;
    loop {
        let power = TABLE[index.clamp(0, POWERS - 1) as usize];
        let product = exponent + power.exponent + 64;
        if product < *PRODUCT_EXPONENTS.start() {
            index += 1;
        } else if product > *PRODUCT_EXPONENTS.end() {
            index -= 1;
        } else {
            return (power, FIRST_POWER + index * POWER_STEP);
        }
    }
}

/// The digits of a positive number, and the power of ten that the last one stands for.
fn digits(value: f64) -> (Vec<u8>, i32) {
    const HIDDEN_BIT: u64 = 1 << 52;
    let bits = value.to_bits();
    let fraction = bits & (HIDDEN_BIT - 1);
    let number = match (bits >> 52 & 0x7ff) as i32 {
        0 => Scaled {
            fraction,
            exponent: -1074,
        },
        exponent => Scaled {
            fraction: fraction + HIDDEN_BIT,
            exponent: exponent - 1075,
        },
    };
    let upper = Scaled {
        fraction: (number.fraction << 1) + 1,
        exponent: number.exponent - 1,
    }
    .normalized();
    // Below a power of two the neighbour is only half as far away.
    let shift = if number.fraction == HIDDEN_BIT { 2 } else { 1 };
    let lower = Scaled {
        fraction: ((number.fraction << shift) - 1) << (number.exponent - shift - upper.exponent),
        exponent: upper.exponent,
    };
    let (power, decimal) = power_for(upper.exponent);
    let number = number.normalized().times(power);
    let (mut lower, mut upper) = (lower.times(power), upper.times(power));
    lower.fraction += 1;
    upper.fraction -= 1;
    let (digits, last) = generate(number, lower, upper);
    (digits, last - decimal)
}

/// Digits of a number in the interval, and what power of ten the last one stands for.
fn generate(number: Scaled, lower: Scaled, upper: Scaled) -> (Vec<u8>, i32) {
    let point = upper.exponent.unsigned_abs();
    let one = 1u64 << point;
    let mut to_number = upper.fraction - number.fraction;
    let mut width = upper.fraction - lower.fraction;
    let mut whole = upper.fraction >> point;
    let mut rest = upper.fraction & (one - 1);
    let mut found = Vec::with_capacity(18);
    let put = |found: &mut Vec<u8>, digit: u64| {
        if digit > 0 || !found.is_empty() {
            found.push(b'0' + digit as u8);
        }
    };
    let mut place = 1_000_000_000;
    for power in (0..10).rev() {
        put(&mut found, whole / place);
        whole %= place;
        let left = (whole << point) + rest;
        if left <= width {
            approach(&mut found, width, left, place << point, to_number);
            return (found, power);
        }
        place /= 10;
    }
    let mut power = 0;
    loop {
        rest = rest.wrapping_mul(10);
        width = width.wrapping_mul(10);
        to_number = to_number.wrapping_mul(10);
        power -= 1;
        put(&mut found, rest >> point);
        rest &= one - 1;
        if rest < width {
            approach(&mut found, width, rest, one, to_number);
            return (found, power);
        }
    }
}

/// Lowers the last digit, one unit of which is `unit`, while that brings it nearer to the number and
/// keeps it in the interval. All are distances from the upper end.
fn approach(found: &mut [u8], width: u64, mut left: u64, unit: u64, to_number: u64) {
    let Some(last) = found.last_mut() else { return };
    while left < to_number
        && width - left >= unit
        && (left + unit < to_number || to_number - left > left + unit - to_number)
    {
        *last -= 1;
        left += unit;
    }
}

/// A finite number that is not 0, written as the servers place the point.
pub(super) fn text(value: f64) -> String {
    let (digits, power) = digits(value.abs());
    let digits: String = digits.into_iter().map(char::from).collect();
    let count = digits.len() as i32;
    let sign = if value < 0.0 { "-" } else { "" };
    // The power of ten of the first digit.
    let first = power + count - 1;
    if power >= 0 && first.abs() < count + 7 {
        let zeros = "0".repeat(power as usize);
        return format!("{sign}{digits}{zeros}");
    }
    if power < 0 && (power > -7 || first.abs() < 4) {
        return match count + power {
            whole @ 1.. => {
                let (whole, fraction) = digits.split_at(whole as usize);
                format!("{sign}{whole}.{fraction}")
            }
            missing => {
                let zeros = "0".repeat(missing.unsigned_abs() as usize);
                format!("{sign}0.{zeros}{digits}")
            }
        };
    }
    let (lead, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let direction = if first < 0 { '-' } else { '+' };
    format!("{sign}{lead}{point}{rest}e{direction}{}", first.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the digits are, they mean the same number.
    #[test]
    fn every_number_comes_back() {
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..200_000 {
            let value = match round % 3 {
                0 => f64::from_bits(random.u64(..)),
                1 => random.f64() * 1000.0,
                _ => random.i32(..) as f64 / 100.0,
            };
            if value.is_finite() && value != 0.0 {
                assert_eq!(text(value).parse(), Ok(value), "{value:e}");
            }
        }
    }

    #[test]
    fn powers_of_ten_are_rounded_to_the_nearest() {
        assert_eq!(power_of_ten(0).fraction, 1 << 63);
        assert_eq!(power_of_ten(0).exponent, -63);
        let (five, eight) = (power_of_ten(-348), power_of_ten(340));
        assert_eq!(
            (five.fraction, five.exponent),
            (0xfa8f_d5a0_081c_0288, -1220)
        );
        assert_eq!(
            (eight.fraction, eight.exponent),
            (0xaf87_023b_9bf0_ee6b, 1066)
        );
    }
}
