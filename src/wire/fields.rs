//! Readers of message bodies. A reader never panics: a missing field is `None`.

use super::kind::Front;

/// The SQL in the bytes that have come of a Query or Parse, without its NUL.
pub fn sql_of(kind: Front, body: &[u8]) -> Option<&[u8]> {
    match kind {
        Front::Query => Some(up_to_nul(body)),
        Front::Parse => behind_name(body).map(up_to_nul),
        _ => None,
    }
}

/// The bytes that have come of a Parse after the name of its statement: the SQL, its NUL, and the
/// parameter types.
#[inline]
pub fn behind_name(parse: &[u8]) -> Option<&[u8]> {
    let end = parse.iter().position(|byte| *byte == 0)?;
    Some(&parse[end + 1..])
}

/// The bytes up to a NUL, or all of them if there is none.
pub fn up_to_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Reads a body from front to back.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(body: &'a [u8]) -> Fields<'a> {
        Fields { rest: body }
    }

    pub fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub fn u16(&mut self) -> Option<u16> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*word))
    }

    pub fn u32(&mut self) -> Option<u32> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*word))
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Bytes up to a NUL, which is skipped.
    pub fn cstr(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&b| b == 0)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    /// Like [`Fields::cstr`], for text that must be UTF-8.
    pub fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.cstr()?).ok()
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(self) -> bool {
        self.rest.is_empty()
    }
}

/// The fields of an ErrorResponse or NoticeResponse that the pooler uses. A server may omit any of
/// them, and may send bytes that are not UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReportFields {
    pub severity: String,
    /// Empty if the peer sent none.
    pub sqlstate: String,
    pub message: String,
}

impl ReportFields {
    /// Reads as many fields as can be read.
    pub fn parse(body: &[u8]) -> ReportFields {
        let mut report = ReportFields::default();
        let mut fields = Fields::new(body);
        while let Some(code) = fields.u8() {
            if code == 0 {
                break;
            }
            // Only the beginning of a long message is seen, and a value that is cut off still
            // helps.
            let (value, last) = match fields.cstr() {
                Some(value) => (value, false),
                None => (fields.rest(), true),
            };
            let slot = match code {
                b'S' if report.severity.is_empty() => &mut report.severity,
                b'V' => &mut report.severity,
                b'C' => &mut report.sqlstate,
                b'M' => &mut report.message,
                _ => {
                    if last {
                        break;
                    }
                    continue;
                }
            };
            *slot = String::from_utf8_lossy(value).into_owned();
            if last {
                break;
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_is_found_in_what_has_come_of_a_message() {
        for (kind, body, sql) in [
            (Front::Query, "SELECT 1\0", Some("SELECT 1")),
            (Front::Query, "SELE", Some("SELE")),
            (Front::Parse, "a\0SELECT 1\0\0\0", Some("SELECT 1")),
            (Front::Parse, "\0SELE", Some("SELE")),
            (Front::Parse, "\0", Some("")),
            (Front::Parse, "a", None),
            (Front::Bind, "a\0b\0", None),
        ] {
            assert_eq!(sql_of(kind, body.as_bytes()), sql.map(str::as_bytes), "{kind:?} {body:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_none() {
        let mut fields = Fields::new(b"ab\0\0\x01");
        assert_eq!(fields.cstr(), Some(&b"ab"[..]));
        assert_eq!(fields.u32(), None);
        assert_eq!(fields.u16(), Some(1));
        assert_eq!((fields.u8(), fields.u16(), fields.cstr()), (None, None, None));
    }

    #[test]
    fn a_report_survives_missing_and_broken_fields() {
        let report = ReportFields::parse(b"SERROR\0VFATAL\0C57P01\0Mgone\0\0");
        assert_eq!(report.severity, "FATAL");
        assert_eq!(report.sqlstate, "57P01");
        assert_eq!(report.message, "gone");
        assert_eq!(ReportFields::parse(b"").message, "");
        assert_eq!(ReportFields::parse(b"Mcut").message, "cut");
        assert_eq!(ReportFields::parse(b"M\xff\0").message, "\u{fffd}");
        assert_eq!(ReportFields::parse(b"Xabc"), ReportFields::default());
    }
}
