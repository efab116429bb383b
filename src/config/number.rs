//! Numbers and times as the configuration spells them: how they are read, and how SHOW prints them.

use std::time::Duration;

/// A whole number in decimal digits, as connection strings have them.
pub fn decimal(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text.trim_start_matches(is_space));
    whole(negative, digits, 10)
}

/// A whole number as C reads it with base 0: space in front, a sign, `0x` for hexadecimal, `0` for
/// octal. What does not fit is the nearest that does, so that it is out of any range.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text.trim_start_matches(is_space));
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => whole(negative, &digits[2..], 16),
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
    let value = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

/// A file mode in octal digits.
pub fn mode(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(is_space);
    let mode = u32::from_str_radix(digits, 8).ok()?;
    (mode <= 0o7777 && !digits.starts_with('+')).then_some(mode)
}

/// The longest time that is told apart from a longer one: 2^63 microseconds.
const SECONDS_MAX: f64 = 9.223e12;

/// Seconds with a fraction, cut at the microsecond.
pub fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim_start_matches(is_space);
    let value = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(_) => number(text)? as f64,
        None => text.parse::<f64>().ok()?,
    };
    if !value.is_finite() || !(0.0..=SECONDS_MAX).contains(&value) {
        return None;
    }
    Some(Duration::from_micros((value * 1e6) as u64))
}

/// Six significant digits, without zeros at the end, with an exponent from a million up and below
/// a ten-thousandth: C's `%g`.
pub fn show_seconds(span: Duration) -> String {
    let text = format!("{:.5e}", span.as_micros() as f64 / 1e6);
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5 - exponent).unwrap_or(0);
        return trim_zeros(&format!("{:.places$}", span.as_micros() as f64 / 1e6)).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim_zeros(digits), exponent.unsigned_abs())
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_c_reads_them() {
        let good = [("5", 5), (" 7", 7), ("+5", 5), ("-1", -1), ("0x10", 16), ("010", 8), ("0", 0)];
        for (text, value) in good {
            assert_eq!(number(text), Some(value), "{text:?}");
        }
        for text in ["", " ", "-", "+-5", "- 5", "7 ", "1e3", "1.5", "5x", "0x", "08", "0x-1", "½"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
        assert_eq!(number("99999999999999999999"), Some(i64::MAX));
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
        ];
        for (text, shown) in good {
            assert_eq!(seconds(text).map(show_seconds).as_deref(), Some(shown), "{text:?}");
        }
        for text in ["", "-5", "-0.5", "abc", "5s", "5 ", "inf", "nan", "1e30", "1e13", "--5"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn modes_are_octal_with_or_without_the_zero() {
        assert_eq!(mode("0777"), Some(0o777));
        assert_eq!(mode("770"), Some(0o770));
        for text in ["", "0999", "rwx", "010000", "+7", "-1"] {
            assert_eq!(mode(text), None, "{text:?}");
        }
    }
}
