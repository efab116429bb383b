//! What PgBouncer makes of a value that is not of its kind: a file that PgBouncer accepts must be
//! accepted here, too. The caller warns of each such value.
//!
//! In PgBouncer, C's `strtol` and `atoi` decide: numbers wrap at 32 bits, a number in a connection
//! string ends at the first byte that is no digit, and a negative limit means no limit. Here a
//! number that is too large becomes the largest, which for any machine is as good as no limit.

use super::number;
use super::settings::SIXTEEN_BITS;
use super::value::{INTEGER_MAX, Kind};

/// `text` is not of `kind`. Gives a text that is, and that means what PgBouncer makes of `text`;
/// None if PgBouncer refuses it as well, or makes of it what nobody can have meant.
pub fn taken(text: &str, kind: &Kind) -> Option<String> {
    match *kind {
        SIXTEEN_BITS => number::number(text).filter(|n| *n > 0).map(|n| (n & 0xffff).to_string()),
        Kind::Integer { min, max } => {
            number::number(text).map(|number| within(number, min, max).to_string())
        }
        Kind::WholeSeconds => {
            number::number(text).map(|number| within(number, 0, INTEGER_MAX).to_string())
        }
        Kind::Octal => number::number(text).map(|number| format!("0{:o}", number & 0o7777)),
        Kind::Override { .. } => Some(number::leading(text).max(-1).to_string()),
        Kind::Seconds => number::is_endless(text).then(|| number::SECONDS_MAX_TEXT.to_owned()),
        Kind::Hosts => {
            let named: Vec<&str> = text.split(',').filter(|part| !part.trim().is_empty()).collect();
            (!named.is_empty()).then(|| named.join(","))
        }
        Kind::Ports => {
            let number = number::leading(text);
            // Nobody but root listens on port 1, and nobody on 0.
            (number != 0).then(|| (number & 0xffff).max(1).to_string())
        }
        Kind::Choice(_)
        | Kind::Choices(_)
        | Kind::Flag
        | Kind::Methods
        | Kind::Names
        | Kind::Secret
        | Kind::Text => None,
    }
}

/// The nearest number that is allowed; for a number below zero, the one that means no limit.
fn within(number: i64, min: u32, max: u32) -> u32 {
    match u32::try_from(number) {
        Ok(number) => number.clamp(min, max),
        Err(_) if number > 0 => max,
        Err(_) if min > 0 && max == INTEGER_MAX => max,
        Err(_) => min,
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::DatabaseLine;
    use super::super::peer::PeerLine;
    use super::super::settings::Settings;
    use super::super::user::UserLine;
    use super::super::value::{COUNT, LIFETIME, LIMIT, SIZE};
    use super::*;

    #[test]
    fn what_the_reference_takes_is_taken_for_the_same() {
        let bytes = Kind::Integer { min: 1024, max: INTEGER_MAX };
        let cases = [
            (COUNT, "-1", Some("0")),
            (COUNT, "4294967296", Some("2147483647")),
            (COUNT, "99999999999999999999", Some("2147483647")),
            (COUNT, "-99999999999999999999", Some("0")),
            (COUNT, "5x", None),
            (COUNT, "", None),
            (bytes, "-1", Some("2147483647")),
            (bytes, "100", Some("1024")),
            (bytes, "4294967295", Some("2147483647")),
            (Kind::WholeSeconds, "-1", Some("0")),
            (Kind::WholeSeconds, "0.5", None),
            (SIXTEEN_BITS, "70000", Some("4464")),
            (SIXTEEN_BITS, "-1", None),
            (SIXTEEN_BITS, "6432x", None),
            (Kind::Octal, "-1", Some("07777")),
            (Kind::Octal, "99999", Some("03237")),
            (Kind::Octal, "rwx", None),
            (Kind::Seconds, "1e30", Some(number::SECONDS_MAX_TEXT)),
            (Kind::Seconds, "inf", Some(number::SECONDS_MAX_TEXT)),
            (Kind::Seconds, "nan", Some(number::SECONDS_MAX_TEXT)),
            (Kind::Seconds, "-1", None),
            (Kind::Seconds, "5x", None),
            (Kind::Seconds, "ten", None),
            (SIZE, "20;", Some("20")),
            (SIZE, "-5", Some("-1")),
            (SIZE, "ten", Some("0")),
            (SIZE, "0x10", Some("0")),
            (SIZE, "2.5", Some("2")),
            (SIZE, "99999999999", Some("1215752191")),
            (LIMIT, "5x", Some("5")),
            (SIZE, "-99999999999999999999", Some("0")),
            (LIFETIME, "1h", Some("1")),
            (LIFETIME, "1e3", Some("1")),
            (LIFETIME, "0x10", Some("0")),
            (Kind::Hosts, "a,,b", Some("a,b")),
            (Kind::Hosts, "127.0.0.1,", Some("127.0.0.1")),
            (Kind::Hosts, ",", None),
            (Kind::Ports, "5432,", Some("5432")),
            (Kind::Ports, "5432;", Some("5432")),
            (Kind::Ports, "70000", Some("4464")),
            (Kind::Ports, "65536", Some("1")),
            (Kind::Ports, "ten", None),
            (Kind::Ports, "4294967296", None),
            (Kind::Ports, "0", None),
            (Kind::Flag, "yes", None),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(taken(text, &kind).as_deref(), expected, "{kind:?} {text}");
        }
    }

    #[test]
    fn what_is_taken_is_of_its_kind_in_every_row() {
        let rows = [Settings::rows(), DatabaseLine::rows(), UserLine::rows(), PeerLine::rows()];
        let mut settings = Settings::default();
        let mut database = DatabaseLine::named("app".into());
        let mut user = UserLine::named("app".into());
        let mut peer = PeerLine::named(1);
        let mut count = 0;
        for (table, rows) in rows.into_iter().enumerate() {
            for row in rows {
                for text in NASTY {
                    let Some(taken) = taken(text, &row.kind) else { continue };
                    count += 1;
                    let set = match table {
                        0 => settings.set(row.name, &taken),
                        1 => database.set(row.name, &taken),
                        2 => user.set(row.name, &taken),
                        _ => peer.set(row.name, &taken),
                    };
                    assert_eq!(set, Ok(()), "{} takes {taken} for {text}", row.name);
                }
            }
        }
        assert!(count > 500, "{count} texts were taken");
    }

    /// What is not of most kinds.
    const NASTY: [&str; 20] = [
        "",
        "0",
        "-0",
        "-1",
        "00",
        "08",
        "0777777777777777777777777777",
        "99999",
        "0x10",
        "0xffffffffffffffffffff",
        "-9999999999999999999999999",
        "9999999999999999999999999",
        "1e30",
        "inf",
        "nan",
        "5x",
        ",",
        "a,,b,",
        "70000,5432;",
        " 5 ",
    ];
}
