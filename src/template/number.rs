//! Numbers of the template language. Packer computes with binary floats of 512 bits (zclconf/go-cty over Go's
//! `math/big.Float`), and its results can be seen in templates, so this is the same arithmetic: each number has a
//! precision of up to 512 bits, results round to the nearest, ties to even, and text is the shortest that reads back as
//! the same number.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigUint;

use super::number_text;

/// The most bits a number has. Numbers written in a template have them all.
pub const MAX_PRECISION: u16 = 512;
const LIMBS: usize = 8;
/// Number exponents beyond this are refused: the digits of a larger number would only fill memory.
const MAX_DECIMAL_EXPONENT: i64 = 4000;
/// The same bound for binary exponents.
const MAX_EXPONENT: i64 = 16_000;

/// `±mantissa × 2^exponent`; the mantissa is odd or zero, so equal numbers have one representation apart from their
/// precision, which does not count.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    negative: bool,
    limbs: [u64; LIMBS],
    exponent: i32,
    /// Bits that results of arithmetic with this number keep at least.
    precision: u16,
}

impl Number {
    pub const ZERO: Self = Self { negative: false, limbs: [0; LIMBS], exponent: 0, precision: 64 };
    pub const ONE: Self = Self { negative: false, limbs: [1, 0, 0, 0, 0, 0, 0, 0], exponent: 0, precision: 64 };

    /// Rounds `mantissa × 2^exponent` to `precision` bits. `sticky` says that bits below the mantissa are not all zero.
    fn round(negative: bool, mantissa: BigUint, exponent: i64, precision: u16, sticky: bool) -> Option<Self> {
        let mut mantissa = mantissa;
        let mut exponent = exponent;
        let bits = mantissa.bits();
        if let Some(extra) = bits.checked_sub(u64::from(precision)).filter(|extra| *extra > 0) {
            let half = mantissa.bit(extra - 1);
            let rest = sticky || mantissa.trailing_zeros().is_some_and(|zeros| zeros < extra - 1);
            mantissa >>= extra;
            exponent += i64::try_from(extra).ok()?;
            if half && (rest || mantissa.bit(0)) {
                mantissa += 1_u32;
            }
        }
        let Some(zeros) = mantissa.trailing_zeros() else {
            return Some(Self { precision, ..Self::ZERO });
        };
        mantissa >>= zeros;
        exponent += i64::try_from(zeros).ok()?;
        if exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let mut limbs = [0; LIMBS];
        for (limb, digit) in limbs.iter_mut().zip(mantissa.iter_u64_digits()) {
            *limb = digit;
        }
        Some(Self { negative, limbs, exponent: i32::try_from(exponent).ok()?, precision })
    }

    /// Whether it is whole and has 62 bits at most.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.small().is_some()
    }

    /// The number when it is whole and has 62 bits at most: most are, and need no big arithmetic.
    fn small(&self) -> Option<i64> {
        let bits = u64::BITS - self.limbs[0].leading_zeros();
        let shift = u32::try_from(self.exponent).ok()?;
        if bits + shift > 62 || self.limbs[1..].iter().any(|limb| *limb != 0) {
            return None;
        }
        let magnitude = i64::try_from(self.limbs[0] << shift).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// A whole number of a precision that holds it.
    fn from_small(number: i64, precision: u16) -> Self {
        let magnitude = number.unsigned_abs();
        if magnitude == 0 {
            return Self { precision, ..Self::ZERO };
        }
        let zeros = magnitude.trailing_zeros();
        let limbs = [magnitude >> zeros, 0, 0, 0, 0, 0, 0, 0];
        Self { negative: number < 0, limbs, exponent: i32::try_from(zeros).unwrap_or(0), precision }
    }

    /// Both numbers when they are small, and the precision of what is made of them.
    fn both_small(&self, other: &Self) -> Option<(i64, i64, u16)> {
        let precision = self.precision.max(other.precision);
        (precision >= 64).then_some((self.small()?, other.small()?, precision))
    }

    pub(super) fn mantissa(&self) -> BigUint {
        let words: Vec<u32> = self
            .limbs
            .iter()
            .flat_map(|limb| {
                let bytes = limb.to_le_bytes();
                let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                [word(0), word(4)]
            })
            .collect();
        BigUint::new(words)
    }

    pub(super) fn exponent(&self) -> i64 {
        i64::from(self.exponent)
    }

    #[must_use]
    pub fn precision(&self) -> u16 {
        self.precision
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.limbs == [0; LIMBS]
    }

    /// Reads `-12.5e3`. `None` when the text is no number, or one with an exponent beyond ±4000.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::from_small(text.parse().ok()?, MAX_PRECISION));
        }
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (number, exponent) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].parse::<i64>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || number.len() > 4000 {
            return None;
        }
        if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mantissa = BigUint::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
        if mantissa.bits() == 0 {
            return Some(Self { precision: MAX_PRECISION, ..Self::ZERO });
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        if exponent.abs() > MAX_DECIMAL_EXPONENT {
            return None;
        }
        let power = BigUint::from(10_u32).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
        if exponent >= 0 {
            return Self::round(negative, mantissa * power, 0, MAX_PRECISION, false);
        }
        Self::quotient(negative, &mantissa, &power, 0, MAX_PRECISION)
    }

    /// A whole number of any size that 512 bits hold.
    #[must_use]
    pub fn from_integer(negative: bool, magnitude: &BigUint) -> Option<Self> {
        let bits = u16::try_from(magnitude.bits()).ok()?.max(64);
        if bits > MAX_PRECISION {
            return None;
        }
        Self::round(negative, magnitude.clone(), 0, bits, false)
    }

    /// `left / right × 2^exponent`, rounded.
    fn quotient(negative: bool, left: &BigUint, right: &BigUint, exponent: i64, precision: u16) -> Option<Self> {
        // Two bits more than the result keeps, and whether anything is left, decide every rounding.
        let wanted = u64::from(precision) + 2 + right.bits();
        let shift = wanted.saturating_sub(left.bits());
        let numerator = left << shift;
        let quotient = &numerator / right;
        let rest = &numerator - &quotient * right;
        let exponent = exponent.checked_sub(i64::try_from(shift).ok()?)?;
        let sticky = rest.bits() > 0;
        Self::round(negative, quotient, exponent, precision, sticky)
    }

    #[must_use]
    pub fn from_f64(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        let bits = number.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let biased = i64::try_from((bits >> 52) & 0x7ff).ok()?;
        let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased - 1075) };
        Self::round(number.is_sign_negative() && number != 0.0, BigUint::from(mantissa), exponent, 53, false)
    }

    /// The nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(0.0)
    }

    /// The number as a whole one; `None` when it has a fraction or is out of range.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        if let Some(small) = self.small() {
            return Some(small);
        }
        let whole = i128::try_from(self.whole()?).ok()?;
        i64::try_from(if self.negative { -whole } else { whole }).ok()
    }

    /// The magnitude of a whole number.
    #[must_use]
    pub fn whole(&self) -> Option<BigUint> {
        (self.exponent >= 0).then(|| self.mantissa() << self.exponent.unsigned_abs())
    }

    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if let Some((left, right, precision)) = self.both_small(&other) {
            return Some(Self::from_small(left + right, precision));
        }
        let low = self.exponent.min(other.exponent);
        let left = self.mantissa() << (self.exponent - low).unsigned_abs();
        let right = other.mantissa() << (other.exponent - low).unsigned_abs();
        let precision = self.precision.max(other.precision);
        let (negative, sum) = if self.negative == other.negative {
            (self.negative, left + right)
        } else if left >= right {
            (self.negative, left - right)
        } else {
            (other.negative, right - left)
        };
        Self::round(negative, sum, i64::from(low), precision, false)
    }

    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(-other)
    }

    /// The product keeps as many bits as it needs, and the factors' at least.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        if let Some((left, right, precision)) = self.both_small(&other)
            && let Some(product) = left.checked_mul(right)
        {
            return Some(Self::from_small(product, precision));
        }
        let exponent = self.exponent() + other.exponent();
        let negative = self.negative != other.negative;
        let mut product = Self::round(negative, self.mantissa() * other.mantissa(), exponent, MAX_PRECISION, false)?;
        let needed = u16::try_from(product.mantissa().bits()).unwrap_or(MAX_PRECISION);
        product.precision = self.precision.max(other.precision).max(needed);
        Some(product)
    }

    /// `None` on division by zero too.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        let precision = self.precision.max(other.precision);
        if self.is_zero() {
            return Some(Self { precision, ..Self::ZERO });
        }
        let exponent = self.exponent() - other.exponent();
        let negative = self.negative != other.negative;
        Self::quotient(negative, &self.mantissa(), &other.mantissa(), exponent, precision)
    }

    /// The rest of a division that rounds towards zero. `None` for a zero divisor.
    #[must_use]
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        let quotient = self.checked_div(other)?.truncate();
        let mut taken = other.checked_mul(quotient)?;
        taken.precision = taken.precision.max(self.precision);
        let mut rest = self.checked_sub(taken)?;
        rest.precision = self.precision;
        Some(rest)
    }

    /// Without what follows the point.
    #[must_use]
    pub fn truncate(self) -> Self {
        if self.exponent >= 0 {
            return self;
        }
        let whole = self.mantissa() >> self.exponent.unsigned_abs();
        Self::from_integer(self.negative, &whole).unwrap_or(Self::ZERO)
    }

    #[must_use]
    pub fn floor(self) -> Self {
        let whole = self.truncate();
        if self.negative && whole != self { whole.checked_sub(Self::ONE).unwrap_or(whole) } else { whole }
    }

    #[must_use]
    pub fn ceil(self) -> Self {
        let whole = self.truncate();
        if !self.negative && whole != self { whole.checked_add(Self::ONE).unwrap_or(whole) } else { whole }
    }
}

impl std::ops::Neg for Number {
    type Output = Self;

    fn neg(self) -> Self {
        Self { negative: !self.negative && !self.is_zero(), ..self }
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::from_small(number, 64)
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::round(false, BigUint::from(number), 0, 64, false).unwrap_or(Self::ZERO)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.negative == other.negative && self.limbs == other.limbs && self.exponent == other.exponent
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Some(left), Some(right)) = (self.small(), other.small()) {
            return left.cmp(&right);
        }
        match (self.negative, other.negative) {
            (false, true) => return Ordering::Greater,
            (true, false) => return Ordering::Less,
            _ => {}
        }
        let low = self.exponent.min(other.exponent);
        let left = self.mantissa() << (self.exponent - low).unsigned_abs();
        let right = other.mantissa() << (other.exponent - low).unsigned_abs();
        if self.negative { right.cmp(&left) } else { left.cmp(&right) }
    }
}

/// The shortest digits that read back as this number, never with an exponent.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(small) = self.small().filter(|_| self.precision >= 64) {
            return write!(f, "{small}");
        }
        f.write_str(if self.negative { "-" } else { "" })?;
        f.write_str(&number_text::plain(&number_text::shortest(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn arithmetic_is_packers() {
        assert_eq!(number("0.1").checked_add(number("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(number("1e3"), Number::from(1000_i64));
        assert_eq!(number("-2.50").to_string(), "-2.5");
        assert_eq!(number("0.05").to_string(), "0.05");
        assert_eq!(number("10").checked_div(number("4")).unwrap().to_string(), "2.5");
        let third = number("10").checked_div(number("3")).unwrap();
        assert_eq!(third.to_string(), format!("3.{}2", "3".repeat(153)));
        let short = Number::from(3_i64).checked_div(Number::from(7_i64)).unwrap();
        assert_eq!(short.to_string(), "0.42857142857142857144");
        assert_eq!(number("7").checked_rem(number("-3")).unwrap(), number("1"));
        assert_eq!(number("-5").checked_rem(number("3")).unwrap(), number("-2"));
        assert_eq!(number("5.5").checked_rem(number("2")).unwrap().to_string(), "1.5");
        assert_eq!(number("1").checked_div(number("0")), None);
        assert!(number("1").checked_div(number("3")).unwrap() < number("0.3334"));
        assert!(number("-1e40") < number("1e-40"));
    }

    #[test]
    fn small_numbers_agree_with_large_ones() {
        let shift = number("1e60");
        for left in [0_i64, 1, -7, 12, 1 << 40, -(1 << 61), i64::MAX] {
            for right in [0_i64, 3, -4, 1 << 61, i64::MIN] {
                let (a, b) = (Number::from(left), Number::from(right));
                let sum = a.checked_add(shift).unwrap().checked_add(b).unwrap().checked_sub(shift).unwrap();
                assert_eq!(a.checked_add(b).unwrap(), sum, "{left} + {right}");
                assert_eq!(sum, number(&(i128::from(left) + i128::from(right)).to_string()));
                let product = a.checked_mul(b).unwrap();
                assert_eq!(product, number(&(i128::from(left) * i128::from(right)).to_string()));
                assert_eq!(a.cmp(&b), left.cmp(&right));
            }
        }
    }

    #[test]
    fn floats() {
        let float = Number::from_f64(1.698_970_004_336_018_7).unwrap();
        assert_eq!(float.to_string(), "1.6989700043360187");
        assert_eq!(Number::from_f64(0.1).unwrap().to_string(), "0.1");
        assert!(Number::from_f64(0.1).unwrap() != number("0.1"));
        assert_eq!(number("0.1").to_f64().to_bits(), 0.1_f64.to_bits());
        assert_eq!(Number::from_f64(f64::NAN), None);
        assert_eq!(Number::from_f64(5e-324).unwrap().to_f64().to_bits(), 1);
    }

    #[test]
    fn rounding_and_limits() {
        assert_eq!(number("-1.5").floor(), number("-2"));
        assert_eq!(number("-1.5").ceil(), number("-1"));
        assert_eq!(number("1e300").checked_mul(number("1e300")).unwrap(), number("1e600"));
        assert!(Number::parse("1e99999").is_none());
        assert!(Number::parse("abc").is_none());
        assert!(Number::parse("-").is_none());
        assert!(Number::parse("0x10").is_none());
        assert!(Number::parse("1.5").unwrap().to_i64().is_none());
        assert_eq!(number("9223372036854775807").to_i64(), Some(i64::MAX));
        assert_eq!(number("-9223372036854775808").to_i64(), Some(i64::MIN));
        assert_eq!(number("9223372036854775808").to_i64(), None);
        assert_eq!(number("12345678901234567890123").to_string(), "12345678901234567890123");
    }
}
