//! What a value may be, per kind: how its text is read, how it is shown, and what an error says was
//! expected.
//!
//! Names, files and lines are not known here: the caller adds them. The spellings are PgBouncer's:
//! numbers as C reads them (`0x10` is 16, `010` is 8), words in any case, seconds with fractions
//! that are cut at the microsecond and shown with six digits.

use std::fmt;
use std::time::Duration;

use super::number::{self, decimal, number, show_seconds};

/// What a text must be to become a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Choices(&'static [&'static str]),
    /// 0 or 1; any other number counts as 1.
    Flag,
    /// Hosts and socket directories, separated by commas.
    Hosts,
    /// A whole number from `min` to `max`, both included.
    Integer { min: u32, max: u32 },
    /// Ways of authentication, separated by commas, each with a `!` before it or none.
    Methods,
    /// Names, separated by commas.
    Names,
    /// A file mode: a number, octal with a 0 in front.
    Octal,
    /// A number or a time in place of a setting, in a connection string: decimal, and with
    /// meanings of its own for 0 and -1.
    Override { word: &'static str, zero: Meaning, minus_one: Meaning },
    /// Ports, separated by commas.
    Ports,
    /// A password: read, never shown.
    Secret,
    /// Seconds, with a fraction.
    Seconds,
    /// Any text, the empty one too.
    Text,
    /// Whole seconds.
    WholeSeconds,
}

/// What a special number stands for in a connection string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// No limit, in place of the setting's.
    NoLimit,
    /// The same as leaving the key out: the setting holds.
    Unset,
    /// The number itself.
    Value,
}

/// A size that overrides a setting; 0 is a size too.
pub const SIZE: Kind =
    Kind::Override { word: "integer", zero: Meaning::Value, minus_one: Meaning::Unset };
/// A limit that overrides a setting; 0 leaves the setting in force.
pub const LIMIT: Kind =
    Kind::Override { word: "integer", zero: Meaning::Unset, minus_one: Meaning::Unset };
/// A lifetime that overrides a setting; 0 leaves the setting in force.
pub const LIFETIME: Kind =
    Kind::Override { word: "seconds", zero: Meaning::Unset, minus_one: Meaning::Unset };
/// A time limit that overrides a setting; 0 leaves the setting in force, and -1 is no limit.
pub const TIMEOUT: Kind =
    Kind::Override { word: "seconds", zero: Meaning::Unset, minus_one: Meaning::NoLimit };
/// A time limit that overrides a setting; -1 leaves the setting in force, and 0 is no limit.
pub const WAIT: Kind =
    Kind::Override { word: "seconds", zero: Meaning::Value, minus_one: Meaning::Unset };

/// The largest number that PgBouncer keeps without wrapping.
pub const INTEGER_MAX: u32 = i32::MAX as u32;

/// A number of things, from none to [`INTEGER_MAX`].
pub const COUNT: Kind = Kind::Integer { min: 0, max: INTEGER_MAX };

impl Kind {
    /// The word for this kind in the manual page.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Choice(_) => "one word",
            Kind::Choices(_) => "list of words",
            Kind::Flag => "0 or 1",
            Kind::Hosts => "list of hosts",
            Kind::Integer { .. } => "integer",
            Kind::Methods => "list of methods",
            Kind::Names => "list of names",
            Kind::Octal => "octal mode",
            Kind::Override { word, .. } => word,
            Kind::Ports => "port",
            Kind::Secret => "secret",
            Kind::Seconds => "seconds",
            Kind::Text => "text",
            Kind::WholeSeconds => "whole seconds",
        }
    }
}

/// Why a text is not a value of its kind; reads as the end of "NAME: ".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueError {
    /// No setting or key has this name.
    UnknownKey {
        /// The known name that was perhaps meant.
        nearest: Option<&'static str>,
    },
    NotAFlag,
    NotAMode,
    NotANumber,
    NotAPort,
    NotOneOf(&'static [&'static str]),
    NotSeconds,
    NotWholeSeconds,
    OutOfRange {
        min: u32,
        max: u32,
    },
    /// A list with nothing between two commas.
    EmptyPart,
    /// A key that has to be there.
    Missing,
    /// What else the key needs.
    Needs(&'static str),
    /// A list of methods some of which have a `!` before them and some not.
    MixedMethods,
    /// More or fewer ports than hosts, and not one for all.
    PortsPerHost,
    /// The name of the console's database, which cannot be used here.
    Reserved,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::UnknownKey { nearest: None } => f.write_str("unknown parameter"),
            ValueError::UnknownKey { nearest: Some(name) } => {
                write!(f, "unknown parameter, did you mean {name}?")
            }
            ValueError::MixedMethods => {
                f.write_str("expected methods with a ! before each of them, or before none")
            }
            ValueError::NotAFlag => f.write_str("expected 0 or 1"),
            ValueError::NotAMode => f.write_str("expected a file mode, such as 0777"),
            ValueError::NotANumber => f.write_str("expected a whole number"),
            ValueError::NotAPort => f.write_str("expected a port, a number from 1 to 65535"),
            ValueError::NotOneOf(words) => write!(f, "expected one of {}", words.join(", ")),
            ValueError::NotSeconds => {
                f.write_str("expected a number of seconds, such as 15 or 0.5")
            }
            ValueError::NotWholeSeconds => f.write_str("expected a whole number of seconds"),
            ValueError::OutOfRange { min, max } => {
                write!(f, "expected a whole number from {min} to {max}")
            }
            ValueError::EmptyPart => f.write_str("expected something between two commas"),
            ValueError::Missing => f.write_str("expected a value, this key is not optional"),
            ValueError::Needs(what) => write!(f, "needs {what}"),
            ValueError::PortsPerHost => f.write_str("expected one port, or one for each host"),
            ValueError::Reserved => {
                f.write_str("the name \"pgbouncer\" is reserved for the console")
            }
        }
    }
}

impl std::error::Error for ValueError {}

/// A Rust type that a setting can have.
pub trait SettingType: Sized {
    /// Reads `text`, which must be of `kind`.
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError>;

    /// The text that SHOW prints; `None` is NULL.
    fn show(&self, kind: &Kind) -> Option<String>;

    /// The value of a setting that is not set.
    fn unset() -> Self;
}

impl SettingType for String {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        Ok(text.to_owned())
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.clone())
    }
    fn unset() -> Self {
        String::new()
    }
}

impl<T: SettingType + PartialEq> SettingType for Option<T> {
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
        let Kind::Override { zero, minus_one, .. } = *kind else {
            return T::read(text, kind).map(Some);
        };
        let (value, meaning) = match decimal(text) {
            Some(-1) => (T::unset(), minus_one),
            _ => (T::read(text, kind)?, zero),
        };
        Ok(match meaning {
            _ if value != T::unset() => Some(value),
            Meaning::NoLimit | Meaning::Value => Some(value),
            Meaning::Unset => None,
        })
    }
    fn show(&self, kind: &Kind) -> Option<String> {
        self.as_ref().and_then(|value| value.show(kind))
    }
    fn unset() -> Self {
        None
    }
}

impl SettingType for bool {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        number(text).map(|n| n != 0).ok_or(ValueError::NotAFlag)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(u8::from(*self).to_string())
    }
    fn unset() -> Self {
        false
    }
}

impl SettingType for u32 {
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
        match *kind {
            Kind::Octal => number::mode(text).ok_or(ValueError::NotAMode),
            Kind::Integer { min, max } => within(number(text), min, max),
            _ => within(decimal(text), 0, INTEGER_MAX),
        }
    }
    /// A file mode is shown in decimal too, as in PgBouncer.
    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.to_string())
    }
    fn unset() -> Self {
        0
    }
}

impl SettingType for u16 {
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
        let value = u32::read(text, kind)?;
        let error = ValueError::OutOfRange { min: 0, max: u16::MAX.into() };
        u16::try_from(value).map_err(|_| error)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.to_string())
    }
    fn unset() -> Self {
        0
    }
}

impl SettingType for Duration {
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
        if *kind == Kind::WholeSeconds {
            let value = number(text).ok_or(ValueError::NotWholeSeconds)?;
            return within(Some(value), 0, INTEGER_MAX).map(|n| Duration::from_secs(n.into()));
        }
        // In a connection string PgBouncer reads decimal digits and no more.
        let is_decimal = !text.contains(|c: char| c.is_ascii_alphabetic());
        let is_read = is_decimal || !matches!(kind, Kind::Override { .. });
        number::seconds(text).filter(|_| is_read).ok_or(ValueError::NotSeconds)
    }
    fn show(&self, kind: &Kind) -> Option<String> {
        let is_whole = *kind == Kind::WholeSeconds;
        Some(if is_whole { self.as_secs().to_string() } else { show_seconds(*self) })
    }
    fn unset() -> Self {
        Duration::ZERO
    }
}

fn within(value: Option<i64>, min: u32, max: u32) -> Result<u32, ValueError> {
    match u32::try_from(value.ok_or(ValueError::NotANumber)?) {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(ValueError::OutOfRange { min, max }),
    }
}
