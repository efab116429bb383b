//! The form of a line, which log readers match: `2026-01-31 15:05:40.508 UTC [PID] LEVEL MESSAGE`,
//! or an object of JSON. Text from peers ends up in lines, so what could forge a line or steer a
//! terminal is made harmless here.

use std::borrow::Cow;
use std::fmt::Write;

use crate::base::json::Json;
use crate::base::time::{LocalSecond, Now, rfc3339};
use crate::log::{Level, LogMessage, SyslogOptions};

/// Writes a line for people into `out`, newline included. `message` must be [`clean`].
pub(super) fn timed(
    out: &mut String,
    now: Now,
    second: &LocalSecond,
    pid: u32,
    level: Level,
    message: &str,
) {
    let millis = now.wall_us % 1_000_000 / 1000;
    let LocalSecond { date_time, zone } = second;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{date_time}.{millis:03} {zone} [{pid}] {level} {message}");
}

/// Writes a line for the journal into `out`, newline included: the journal adds time and pid
/// itself, and takes the priority from the front of each line of the message (sd-daemon(3)).
pub(super) fn journal(out: &mut String, level: Level, message: &str) {
    for part in message.split('\n') {
        let _ = writeln!(out, "<{}>{part}", level.severity());
    }
}

/// Writes a line for the system's log into `out`, in the form of RFC 3164 that the C library gives
/// it. The daemon itself ends the line.
pub(super) fn syslog(
    out: &mut String,
    options: &SyslogOptions,
    second: &LocalSecond,
    pid: u32,
    level: Level,
    message: &str,
) {
    // The level stands in the priority.
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    // `2026-01-31 15:05:40`; a text of another form counts as the first of January.
    let date_time = &second.date_time;
    let number = |from, to| date_time.get(from..to).and_then(|text| text.parse().ok());
    let month = number(5, 7).unwrap_or(1usize).saturating_sub(1).min(11) * 3;
    let month = String::from_utf8_lossy(&MONTHS[month..month + 3]);
    let day = number(8, 10).unwrap_or(1usize);
    let time = date_time.get(11..).unwrap_or("00:00:00");
    let priority = u32::from(options.facility) << 3 | u32::from(level.severity());
    let ident = &options.ident;
    let _ = write!(out, "<{priority}>{month} {day:>2} {time} {ident}[{pid}]: {message}");
}

/// An object of JSON on one line, without a newline. The escapes of JSON leave nothing in it that
/// could end the line, or steer a terminal.
pub(super) fn object(now: Now, pid: u32, level: Level, message: LogMessage<'_>) -> String {
    let mut json = Json::default();
    json.open('{').key("time").text(&rfc3339(now.wall_us)).key("level").text(level.word());
    json.key("pid").number(pid.into()).members(message.members());
    json.key("message").text(message.bare().trim_end_matches(['\n', '\r'])).close('}');
    json.into_text()
}

/// A message as it may be written: a newline becomes newline and tab, so that no part of it looks
/// like a line of its own; other control bytes become `?`, so that none reaches a terminal.
pub fn clean(message: &str) -> Cow<'_, str> {
    let message = message.trim_end_matches(['\n', '\r']);
    if !message.contains(|c: char| c.is_control() && c != '\t') {
        return Cow::Borrowed(message);
    }
    let mut safe = String::with_capacity(message.len() + 8);
    for c in message.chars() {
        match c {
            '\n' => safe.push_str("\n\t"),
            '\t' => safe.push('\t'),
            c if c.is_control() => safe.push('?'),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Moment;

    #[test]
    fn a_line_has_the_form_that_log_readers_match() {
        let now = Now { mono: Moment(0), wall_us: 1_769_871_940_508_999 };
        let second =
            LocalSecond { date_time: "2026-01-31 15:05:40".to_owned(), zone: "UTC".to_owned() };
        let mut out = String::new();
        timed(&mut out, now, &second, 42, Level::Log, "process up");
        assert_eq!(out, "2026-01-31 15:05:40.508 UTC [42] LOG process up\n");
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_steer_a_terminal() {
        assert_eq!(clean("plain\ttext äöü"), "plain\ttext äöü");
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
        assert_eq!(clean("a\nb\r\x1b[2J\0\u{85}"), "a\n\tb??[2J??");
        assert_eq!(clean("ends\n"), "ends");
    }

    #[test]
    fn the_journal_sees_the_priority_of_every_part() {
        let mut out = String::new();
        journal(&mut out, Level::Warning, &clean("a\nb"));
        assert_eq!(out, "<4>a\n<4>\tb\n");
    }
}
