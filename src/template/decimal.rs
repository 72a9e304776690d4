//! Numbers of the template language: exact decimals, so that `0.1 + 0.2` is `0.3` and ids keep all their digits.

use std::cmp::Ordering;
use std::fmt;

/// `mantissa × 10^-scale`, kept without trailing zeros, so equal numbers have one representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// Fractional digits a division computes when it does not come out even.
const DIVISION_DIGITS: u32 = 30;
const MAX_SCALE: u32 = 36;

impl Decimal {
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    fn new(mut mantissa: i128, mut scale: u32) -> Self {
        if mantissa == 0 {
            return Self::ZERO;
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// Reads `-12.5e3`. `None` when the text is no number or has more digits than fit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (number, exponent) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if negative {
            mantissa = -mantissa;
        }
        if scale <= 0 {
            let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
            return Some(Self::new(mantissa.checked_mul(factor)?, 0));
        }
        let result = Self::new(mantissa, scale.unsigned_abs());
        (result.scale <= MAX_SCALE).then_some(result)
    }

    #[must_use]
    pub fn from_f64(number: f64) -> Option<Self> {
        if number.is_finite() { Self::parse(&format!("{number}")) } else { None }
    }

    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "callers want the nearest float")]
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(self.mantissa as f64)
    }

    /// The number as a whole one; `None` when it has a fraction or is out of range.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        if self.scale == 0 { i64::try_from(self.mantissa).ok() } else { None }
    }

    #[must_use]
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let left = self.mantissa.checked_mul(10_i128.checked_pow(scale - self.scale)?)?;
        let right = other.mantissa.checked_mul(10_i128.checked_pow(scale - other.scale)?)?;
        Some((left, right, scale))
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self::new(left.checked_add(right)?, scale))
    }

    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.checked_neg()?)
    }

    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        Some(Self::new(self.mantissa.checked_neg()?, self.scale))
    }

    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let product = Self::new(self.mantissa.checked_mul(other.mantissa)?, self.scale.checked_add(other.scale)?);
        (product.scale <= MAX_SCALE).then_some(product)
    }

    /// `None` on division by zero too.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        let (left, right, _) = self.aligned(other)?;
        let mut quotient = left.checked_div(right)?;
        let mut rest = left.checked_rem(right)?;
        let mut scale = 0;
        while rest != 0 && scale < DIVISION_DIGITS {
            let Some(next) = rest.checked_mul(10) else { break };
            let Some(grown) = quotient.checked_mul(10).and_then(|q| q.checked_add(next / right)) else { break };
            quotient = grown;
            rest = next % right;
            scale += 1;
        }
        Some(Self::new(quotient, scale))
    }

    /// The rest of a division that rounds towards zero. `None` for a zero divisor.
    #[must_use]
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self::new(left.checked_rem(right)?, scale))
    }

    #[must_use]
    pub fn floor(self) -> Self {
        let factor = 10_i128.checked_pow(self.scale).unwrap_or(1);
        Self::new(self.mantissa.div_euclid(factor), 0)
    }

    #[must_use]
    pub fn ceil(self) -> Self {
        let factor = 10_i128.checked_pow(self.scale).unwrap_or(1);
        let floor = self.mantissa.div_euclid(factor);
        Self::new(if self.mantissa.rem_euclid(factor) == 0 { floor } else { floor + 1 }, 0)
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self::new(i128::from(number), 0)
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self::new(i128::from(number), 0)
    }
}

impl From<usize> for Decimal {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Some((left, right, _)) => left.cmp(&right),
            // Only numbers of very different size can't be aligned, and those a float tells apart.
            None => self.to_f64().total_cmp(&other.to_f64()),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.mantissa);
        }
        let digits = self.mantissa.unsigned_abs().to_string();
        let scale = self.scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{}{whole}.{fraction}", if self.mantissa < 0 { "-" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(number("0.1").checked_add(number("0.2")).unwrap(), number("0.3"));
        assert_eq!(number("1e3"), Decimal::from(1000_i64));
        assert_eq!(number("-2.50").to_string(), "-2.5");
        assert_eq!(number("0.05").to_string(), "0.05");
        assert_eq!(number("10").checked_div(number("4")).unwrap().to_string(), "2.5");
        assert_eq!(number("7").checked_rem(number("-3")).unwrap(), number("1"));
        assert_eq!(number("1").checked_div(number("0")), None);
        assert!(number("1").checked_div(number("3")).unwrap() < number("0.3334"));
    }

    #[test]
    fn rounding_and_limits() {
        assert_eq!(number("-1.5").floor(), number("-2"));
        assert_eq!(number("-1.5").ceil(), number("-1"));
        assert_eq!(number("1e38").checked_mul(number("1e38")), None);
        assert!(Decimal::parse("1e99999").is_none());
        assert!(Decimal::parse("abc").is_none());
        assert!(Decimal::parse("-").is_none());
        assert!(Decimal::parse("1.5").unwrap().to_i64().is_none());
    }
}
