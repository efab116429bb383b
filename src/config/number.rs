//! Numbers and times as the configuration spells them: how they are read, and how SHOW prints them.

use std::cmp::Ordering;
use std::time::Duration;

use crate::base::text::is_space;

/// A whole number in decimal digits, as connection strings have them.
pub fn decimal(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text.trim_start_matches(is_space::<char>));
    whole(negative, digits, 10)
}

/// A whole number as C reads it with base 0: space in front, a sign, `0x` for hexadecimal, `0b` for
/// binary, `0` for octal. A number that does not fit into 64 bits becomes the nearest that does,
/// which is out of any range.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text.trim_start_matches(is_space::<char>));
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => whole(negative, &digits[2..], 16),
        [b'0', b'b' | b'B', ..] => whole(negative, &digits[2..], 2),
        [b'0', _, ..] => whole(negative, &digits[1..], 8),
        _ => whole(negative, digits, 10),
    }
}

/// Whether `text` is negative, and what follows its sign.
fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn whole(negative: bool, digits: &str, radix: u32) -> Option<i64> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(match i64::from_str_radix(digits, radix) {
        Ok(value) if negative => -value,
        Ok(value) => value,
        Err(_) if negative => i64::MIN,
        Err(_) => i64::MAX,
    })
}

/// What C's `atoi` makes of a text: the digits that it begins with, or 0, in 32 bits.
pub fn leading(text: &str) -> i32 {
    let (negative, rest) = sign(text.trim_start_matches(is_space::<char>));
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let value = whole(negative, &rest[..end], 10).unwrap_or(0);
    value as i32
}

/// A file mode as C reads a number: octal only with a 0 in front. So the decimal number that SHOW
/// prints, or that YAML makes of an octal mode, keeps its meaning.
pub fn mode(text: &str) -> Option<u32> {
    let mode = u32::try_from(number(text)?).ok()?;
    (mode <= 0o7777).then_some(mode)
}

/// The longest time, in microseconds: nearly 2^63 of them.
const MICROS_MAX: u64 = 9_223_000_000_000_000_000;

/// The longest time in seconds, as a text.
pub const SECONDS_MAX_TEXT: &str = "9.223e12";

/// Whether a text is a number of seconds that is larger than the longest time.
pub fn is_endless(text: &str) -> bool {
    let text = text.trim_start_matches(is_space::<char>);
    let (negative, rest) = sign(text);
    if ["inf", "infinity", "nan"].iter().any(|word| rest.eq_ignore_ascii_case(word)) {
        return !negative;
    }
    let is_number = |text: &str| {
        let digits = text.strip_prefix('.').unwrap_or(text).as_bytes();
        digits.first().is_some_and(u8::is_ascii_digit)
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && text.matches('.').count() <= 1
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, sign(exponent).1),
        None => (rest, "0"),
    };
    let is_power = !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit());
    !negative && is_number(mantissa) && is_power && seconds(text).is_none()
}

/// Seconds with a fraction and a power of ten, cut at the microsecond.
pub fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim_start_matches(is_space::<char>);
    let micros = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::try_from(number(text)?).ok()?.checked_mul(1_000_000)?,
        _ => micros(text)?,
    };
    (micros <= MICROS_MAX).then(|| Duration::from_micros(micros))
}

/// The whole microseconds in a number of seconds such as `1.5e3`. They are computed digit by digit:
/// the conversion of floating-point numbers would bring its tables into the program.
fn micros(text: &str) -> Option<u64> {
    let (negative, text) = sign(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let (negative, digits) = sign(exponent);
            (mantissa, whole(negative, digits, 10)?)
        }
        None => (text, 0),
    };
    let (units, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || units.bytes().chain(fraction.bytes());
    let is_zero = digits().all(|digit| digit == b'0');
    if mantissa.len() == mantissa.matches('.').count()
        || !digits().all(|digit| digit.is_ascii_digit())
        || (negative && !is_zero)
    {
        return None;
    }
    // The point moves right by the power, and by six for the microseconds.
    let places = (units.len() as i64).saturating_add(exponent).saturating_add(6);
    let places = if is_zero { 0 } else { places.max(0) };
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    let mut micros = 0u64;
    for digit in digits().chain(std::iter::repeat(b'0')).take(places) {
        micros = micros.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(micros)
}

/// Seconds with six significant digits, without zeros at the end, and with an exponent from a
/// million up and below a ten-thousandth: C's `%g`.
pub fn show_seconds(span: Duration) -> String {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let Some(mut power) = micros.checked_ilog10() else { return "0".to_owned() };
    let mut value = match power.checked_sub(5) {
        Some(surplus) => round(micros, 10u64.pow(surplus)),
        None => micros * 10u64.pow(5 - power),
    };
    if value == 1_000_000 {
        (value, power) = (100_000, power + 1);
    }
    let digits = value.to_string();
    let point = |at: usize| format!("{}.{}", &digits[..at], &digits[at..]);
    match power {
        0 | 1 => format!("{}e-{:02}", trim_zeros(&point(1)), 6 - power),
        2..6 => trim_zeros(&format!("0.{}{digits}", &"000"[..5 - power as usize])).to_owned(),
        6..12 => trim_zeros(&point(power as usize - 5)).to_owned(),
        _ => format!("{}e+{:02}", trim_zeros(&point(1)), power - 6),
    }
}

/// `value / unit`, rounded; a half is rounded to the even neighbour.
fn round(value: u64, unit: u64) -> u64 {
    let (quotient, rest) = (value / unit, value % unit);
    let is_up = match rest.cmp(&(unit - rest)) {
        Ordering::Less => false,
        Ordering::Equal => quotient % 2 == 1,
        Ordering::Greater => true,
    };
    quotient + u64::from(is_up)
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_c_reads_them() {
        let good = [("5", 5), (" 7", 7), ("+5", 5), ("-1", -1), ("010", 8), ("0", 0)];
        let good = good.into_iter().chain([("0x10", 16), ("0b101", 5), ("-0B1", -1)]);
        for (text, value) in good {
            assert_eq!(number(text), Some(value), "{text:?}");
        }
        for text in
            ["", " ", "-", "+-5", "- 5", "7 ", "1e3", "1.5", "5x", "0x", "0b", "0b2", "08", "0x-1"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
        assert_eq!(number("99999999999999999999"), Some(i64::MAX));
        assert_eq!(number("-99999999999999999999"), Some(i64::MIN));
        assert_eq!((leading("-99999999999999999999"), leading("99999999999999999999")), (0, -1));
        assert_eq!(decimal("010"), Some(10));
        assert_eq!(decimal("0x10"), None);
    }

    #[test]
    fn seconds_are_cut_at_the_microsecond_and_shown_with_six_digits() {
        let good = [
            ("5", "5"),
            ("0.5", "0.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1e-7", "0"),
            ("0.000001", "1e-06"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("0.1234567", "0.123456"),
            ("1000000", "1e+06"),
            ("1234567", "1.23457e+06"),
            ("12345.678", "12345.7"),
            ("0x10", "16"),
            ("99999999999", "1e+11"),
            (" 5", "5"),
            ("999999.5", "1e+06"),
            ("100000", "100000"),
            ("123456.7", "123457"),
            ("0", "0"),
            ("-0.0", "0"),
            ("+2.5", "2.5"),
            ("1E-2", "0.01"),
            ("25e-1", "2.5"),
            ("0e99999999999999999999", "0"),
            ("1e-99999999999999999999", "0"),
            ("100000.5", "100000"),
            ("100001.5", "100002"),
            ("0.0123456", "0.012345"),
            ("9223000000000", "9.223e+12"),
        ];
        for (text, shown) in good {
            assert_eq!(seconds(text).map(show_seconds).as_deref(), Some(shown), "{text:?}");
        }
        let bad = [
            "",
            "-5",
            "-0.5",
            "abc",
            "5s",
            "5 ",
            "inf",
            "nan",
            "1e30",
            "1e13",
            "--5",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e1.5",
            "1.2.3",
            "1 5",
            "-1e-9",
            "9223000000001",
            "½",
            "1e99999999999999999999",
        ];
        for text in bad {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn seconds_are_what_floating_numbers_make_of_them() {
        let mut seed = 1u64;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let micros = (seed >> 16) >> ((seed & 0xffff) % 48);
            let value = micros as f64 / 1e6;
            assert_eq!(seconds(&format!("{value:.6}")), Some(Duration::from_micros(micros)));
            let scientific = format!("{value:.5e}");
            let (digits, exponent) = scientific.split_once('e').expect("an exponent");
            let exponent: i32 = exponent.parse().expect("a number");
            let shown = show_seconds(Duration::from_micros(micros));
            // A half that is no exact floating-point number may be rounded either way.
            let significant = micros.to_string();
            let significant = significant.trim_end_matches('0');
            if significant.len() == 7 && significant.ends_with('5') {
                continue;
            }
            if (-4..6).contains(&exponent) {
                let fixed = format!("{value:.*}", (5 - exponent) as usize);
                assert_eq!(shown, trim_zeros(&fixed));
            } else {
                assert_eq!(shown, format!("{}e{exponent:+03}", trim_zeros(digits)));
            }
        }
    }

    #[test]
    fn modes_are_read_as_c_reads_numbers() {
        for (text, value) in [("0777", 0o777), ("511", 0o777), ("0x1ff", 0o777), ("770", 0o1402)] {
            assert_eq!(mode(text), Some(value), "{text:?}");
        }
        for text in ["", "0999", "rwx", "010000", "-1"] {
            assert_eq!(mode(text), None, "{text:?}");
        }
    }
}
