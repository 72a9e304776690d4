//! Numbers as text: the shortest digits that identify a number of its precision, and the ways Go writes floats.

use num_bigint::BigUint;

use super::number::Number;

/// `0.digits × 10^point`, without trailing zeros; no digits for zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits {
    pub digits: Vec<u8>,
    pub point: i64,
}

impl Digits {
    /// `mantissa × 2^exponent`, exactly.
    fn exact(mantissa: &BigUint, exponent: i64) -> Self {
        let power = u32::try_from(exponent.unsigned_abs()).unwrap_or(u32::MAX);
        // × 2^-n is × 5^n with the point n digits to the left.
        let (whole, fraction) = if exponent >= 0 {
            (mantissa << exponent.unsigned_abs(), 0)
        } else {
            (mantissa * BigUint::from(5_u32).pow(power), exponent)
        };
        if whole.bits() == 0 {
            return Self { digits: Vec::new(), point: 0 };
        }
        let mut digits: Vec<u8> = whole.to_string().bytes().map(|byte| byte - b'0').collect();
        let point = i64::try_from(digits.len()).unwrap_or(i64::MAX) + fraction;
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Self { digits, point }
    }

    fn at(&self, index: i64) -> u8 {
        usize::try_from(index).ok().and_then(|index| self.digits.get(index)).copied().unwrap_or(0)
    }

    fn len(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX)
    }

    fn round_down(mut self, count: usize) -> Self {
        self.digits.truncate(count);
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 0;
        }
        self
    }

    fn round_up(mut self, count: usize) -> Self {
        self.digits.truncate(count);
        while self.digits.last() == Some(&9) {
            self.digits.pop();
        }
        if let Some(last) = self.digits.last_mut() {
            *last += 1;
        } else {
            self.digits.push(1);
            self.point += 1;
        }
        self
    }

    /// To `count` digits, ties to even.
    pub(super) fn round(self, count: usize) -> Self {
        let Some(next) = self.digits.get(count).copied() else {
            return self;
        };
        let even = count.checked_sub(1).is_none_or(|at| self.digits[at].is_multiple_of(2));
        let tie = next == 5 && self.digits.len() == count + 1;
        if next > 5 || next == 5 && !(tie && even) { self.round_up(count) } else { self.round_down(count) }
    }
}

/// All digits of a number.
fn exact(number: &Number) -> Digits {
    Digits::exact(&number.mantissa(), number.exponent())
}

/// The shortest digits that read back as the same number at its precision.
pub(super) fn shortest(number: &Number) -> Digits {
    let exact = exact(number);
    if exact.digits.is_empty() {
        return exact;
    }
    // One bit more than the precision: the last bit is worth half a unit.
    let mantissa = number.mantissa();
    let shift = (u64::from(number.precision()) + 1).saturating_sub(mantissa.bits());
    let scaled = mantissa << shift;
    let exponent = number.exponent() - i64::try_from(shift).unwrap_or(0);
    let inclusive = !scaled.bit(1);
    let lower = Digits::exact(&(&scaled - 1_u32), exponent);
    let upper = Digits::exact(&(&scaled + 1_u32), exponent);
    // The neighbours may begin one digit later or earlier.
    let (low, high) = (lower.point - exact.point, upper.point - exact.point);
    let mut count = 0;
    while count < exact.digits.len() {
        let index = i64::try_from(count).unwrap_or(0);
        let (digit, below, above) = (exact.digits[count], lower.at(index + low), upper.at(index + high));
        let may_cut = below != digit || inclusive && index + low + 1 == lower.len();
        let may_raise = digit != above && (inclusive || digit + 1 < above || index + high + 1 < upper.len());
        count += 1;
        match (may_cut, may_raise) {
            (true, true) => return exact.round(count),
            (true, false) => return exact.round_down(count),
            (false, true) => return exact.round_up(count),
            (false, false) => {}
        }
    }
    exact
}

fn text(digits: &[u8]) -> String {
    digits.iter().map(|digit| char::from(b'0' + digit)).collect()
}

/// Without an exponent: `0.05`, `1200`.
pub(super) fn plain(digits: &Digits) -> String {
    let Digits { digits: list, point } = digits;
    if list.is_empty() {
        return "0".to_owned();
    }
    let count = digits.len();
    if *point <= 0 {
        let zeros = usize::try_from(-point).unwrap_or(0);
        return format!("0.{}{}", "0".repeat(zeros), text(list));
    }
    if *point >= count {
        let zeros = usize::try_from(point - count).unwrap_or(0);
        return format!("{}{}", text(list), "0".repeat(zeros));
    }
    let (whole, fraction) = list.split_at(usize::try_from(*point).unwrap_or(0));
    format!("{}.{}", text(whole), text(fraction))
}

/// Go's `%f` with that many digits after the point.
fn fixed(digits: Digits, decimals: usize) -> String {
    let kept = digits.point + i64::try_from(decimals).unwrap_or(0);
    let rounded = match usize::try_from(kept) {
        Ok(kept) => digits.round(kept),
        Err(_) => Digits { digits: Vec::new(), point: 0 },
    };
    let mut text = plain(&rounded);
    if decimals > 0 {
        let given = text.find('.').map_or(0, |at| text.len() - at - 1);
        if given == 0 {
            text.push('.');
        }
        text.push_str(&"0".repeat(decimals.saturating_sub(given)));
    }
    text
}

/// Go's `%e`: `1.5e+06`. Without a number of decimals, all digits.
fn scientific(digits: Digits, decimals: Option<usize>, letter: char) -> String {
    let digits = match decimals {
        Some(decimals) => digits.round(decimals + 1),
        None => digits,
    };
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    let first = digits.at(0);
    let mut fraction = text(digits.digits.get(1..).unwrap_or_default());
    if let Some(decimals) = decimals {
        fraction.push_str(&"0".repeat(decimals.saturating_sub(fraction.len())));
    }
    let dot = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{dot}{fraction}{letter}{sign}{:02}", exponent.unsigned_abs())
}

/// Go's `%g`: the shorter of both. `significant` bounds the digits; without it all of `digits` are written, and an
/// exponent comes from a million on.
fn general(digits: Digits, significant: Option<usize>, letter: char) -> String {
    let (digits, limit) = match significant {
        Some(count) => {
            let count = count.max(1);
            let digits = digits.round(count);
            let limit =
                if count > digits.digits.len() && digits.len() >= digits.point { digits.digits.len() } else { count };
            (digits, i64::try_from(limit).unwrap_or(i64::MAX))
        }
        None => (digits, 6),
    };
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    if exponent < -4 || exponent >= limit {
        return scientific(digits, None, letter);
    }
    plain(&digits)
}

/// A number without its sign, as Go's fmt writes it by one of its verbs `e`, `E`, `f`, `F`, `g` and `G`; any other is `g`.
#[must_use]
pub fn formatted(number: &Number, verb: char, precision: Option<usize>) -> String {
    let letter = if verb.is_ascii_uppercase() { 'E' } else { 'e' };
    match (verb, precision) {
        ('f' | 'F', _) => fixed(exact(number), precision.unwrap_or(6)),
        ('e' | 'E', _) => scientific(exact(number), Some(precision.unwrap_or(6)), letter),
        (_, Some(_)) => general(exact(number), precision, letter),
        (_, None) => general(shortest(number), None, letter),
    }
}

/// A float as Go's fmt writes it by a verb of [`formatted`].
#[must_use]
pub fn float(number: f64, verb: char, precision: Option<usize>) -> String {
    let Some(exact) = Number::from_f64(number) else {
        let infinite = if number > 0.0 { "+Inf" } else { "-Inf" };
        return if number.is_nan() { "NaN" } else { infinite }.to_owned();
    };
    let sign = if number.is_sign_negative() { "-" } else { "" };
    format!("{sign}{}", formatted(&exact, verb, precision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (number, expected) in [
            (3.333_333_333_333_333_5, "3.3333333333333335"),
            (1e30, "1e+30"),
            (12_345_678.5, "1.23456785e+07"),
            (100_000.5, "100000.5"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (-1.5, "-1.5"),
            (1_267_650_600_228_229_401_496_703_205_376.0, "1.2676506002282294e+30"),
        ] {
            assert_eq!(float(number, 'g', None), expected);
        }
        let digits = |text: &str| exact(&Number::parse(text).unwrap());
        assert_eq!(fixed(digits("1.555"), 2), "1.56");
        assert_eq!(fixed(digits("12.345"), 2), "12.34");
        assert_eq!(fixed(digits("2"), 3), "2.000");
        assert_eq!(fixed(digits("0.96"), 1), "1.0");
        assert_eq!(fixed(digits("0.04"), 1), "0.0");
        assert_eq!(fixed(digits("0.5"), 0), "0");
        assert_eq!(scientific(digits("123456.789"), Some(6), 'e'), "1.234568e+05");
        assert_eq!(scientific(digits("0"), Some(2), 'e'), "0.00e+00");
        assert_eq!(general(digits("123456"), Some(3), 'g'.to_ascii_lowercase()).replace('g', "e"), "1.23e+05");
        assert_eq!(general(digits("100000"), None, 'e'), "100000");
        assert_eq!(general(digits("1000000"), None, 'e'), "1e+06");
    }

    #[test]
    fn the_shortest_text_reads_back() {
        for text in ["0.1", "3.3", "1e-7", "123456789.000000001", "1e100", "0.30000000000000004"] {
            let number = Number::parse(text).unwrap();
            assert_eq!(Number::parse(&number.to_string()), Some(number), "{text}");
        }
        for float in [0.1, 1.0 / 3.0, 5e-324, 1.7e308, 123_456.789, f64::MIN_POSITIVE] {
            assert_eq!(Number::from_f64(float).unwrap().to_string().parse::<f64>(), Ok(float));
        }
    }
}
