//! LDAP filters: from the text that is configured (RFC 4515) to the bytes that are sent (RFC 4511,
//! section 4.5.1.7).

use super::ber::{self, OCTETS};
use crate::base::text;

/// How deep filters may stand within filters.
const DEPTH_MAX: u32 = 32;

/// The text is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFilter;

/// Writes a filter. Parentheses around a single comparison may be left out, as libldap lets them.
pub fn write(out: &mut Vec<u8>, text: &str) -> Result<(), NoFilter> {
    let rest = match text.starts_with('(') {
        true => filter(out, text.as_bytes(), 0)?,
        false => {
            item(out, text.as_bytes())?;
            b""
        }
    };
    if rest.is_empty() { Ok(()) } else { Err(NoFilter) }
}

/// Takes one filter in parentheses, and returns what follows it.
fn filter<'a>(out: &mut Vec<u8>, text: &'a [u8], depth: u32) -> Result<&'a [u8], NoFilter> {
    let inner = text.strip_prefix(b"(").ok_or(NoFilter)?;
    if depth == DEPTH_MAX {
        return Err(NoFilter);
    }
    let rest = match inner.first() {
        Some(b'&') => list(out, AND, &inner[1..], depth)?,
        Some(b'|') => list(out, OR, &inner[1..], depth)?,
        Some(b'!') => {
            let mut rest = Ok(&inner[1..]);
            ber::element(out, NOT, |out| rest = filter(out, &inner[1..], depth + 1));
            rest?
        }
        _ => {
            let end = inner.iter().position(|&byte| byte == b')').ok_or(NoFilter)?;
            item(out, &inner[..end])?;
            &inner[end..]
        }
    };
    rest.strip_prefix(b")").ok_or(NoFilter)
}

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const AT_LEAST: u8 = 0xa5;
const AT_MOST: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const LIKE: u8 = 0xa8;

/// Filters one after the other, up to the closing parenthesis.
fn list<'a>(out: &mut Vec<u8>, tag: u8, text: &'a [u8], depth: u32) -> Result<&'a [u8], NoFilter> {
    let mut rest = Ok(text);
    ber::element(out, tag, |out| {
        while let Ok(more) = rest
            && more.starts_with(b"(")
        {
            rest = filter(out, more, depth + 1);
        }
    });
    // `(&)` and `(|)` mean something to some directories, and are a mistake in a setting.
    match rest? {
        rest if rest.len() == text.len() => Err(NoFilter),
        rest => Ok(rest),
    }
}

/// A comparison: `name=value`, `name=*`, `name=a*b`, `name>=value`, `name<=value`, `name~=value`.
fn item(out: &mut Vec<u8>, text: &[u8]) -> Result<(), NoFilter> {
    let at = text.iter().position(|&byte| byte == b'=').ok_or(NoFilter)?;
    let (name, value) = (&text[..at], &text[at + 1..]);
    let (name, tag) = match name.split_last() {
        Some((b'>', name)) => (name, AT_LEAST),
        Some((b'<', name)) => (name, AT_MOST),
        Some((b'~', name)) => (name, LIKE),
        _ => (name, EQUAL),
    };
    let is_name = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';');
    if name.is_empty() || !name.iter().all(is_name) || value.contains(&b'(') {
        return Err(NoFilter);
    }
    match value {
        b"*" if tag == EQUAL => ber::bytes(out, PRESENT, name),
        _ if value.contains(&b'*') && tag == EQUAL => return substrings(out, name, value),
        _ => {
            let value = unescaped(value)?;
            ber::element(out, tag, |out| {
                ber::bytes(out, OCTETS, name);
                ber::bytes(out, OCTETS, &value);
            });
        }
    }
    Ok(())
}

/// The pieces between stars: the value begins with the first, and ends with the last.
fn substrings(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), NoFilter> {
    let pieces: Result<Vec<_>, _> = value.split(|&byte| byte == b'*').map(unescaped).collect();
    let pieces = pieces?;
    let last = pieces.len() - 1;
    ber::element(out, SUBSTRINGS, |out| {
        ber::bytes(out, OCTETS, name);
        ber::element(out, ber::SEQUENCE, |out| {
            for (at, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
                let tag = match at {
                    0 => 0x80,
                    _ if at == last => 0x82,
                    _ => 0x81,
                };
                ber::bytes(out, tag, piece);
            }
        });
    });
    if pieces.iter().all(Vec::is_empty) { Err(NoFilter) } else { Ok(()) }
}

/// A value with its escapes resolved. A NUL byte must be written as an escape.
fn unescaped(value: &[u8]) -> Result<Vec<u8>, NoFilter> {
    if value.contains(&0) {
        return Err(NoFilter);
    }
    text::unescaped(value, b'\\').ok_or(NoFilter)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter as it is sent, in words.
    fn told(text: &str) -> Result<String, NoFilter> {
        let mut out = Vec::new();
        write(&mut out, text)?;
        let mut reader = ber::BerReader::new(&out);
        let (tag, content) = reader.next().expect("an element");
        assert!(reader.next().is_err(), "nothing behind it");
        Ok(words(tag, content))
    }

    fn words(tag: u8, content: &[u8]) -> String {
        if tag & 0x20 == 0 {
            return format!("{tag:x}:{}", String::from_utf8_lossy(content));
        }
        let (mut reader, mut inner) = (ber::BerReader::new(content), Vec::new());
        while let Ok((tag, content)) = reader.next() {
            inner.push(words(tag, content));
        }
        format!("{tag:x}[{}]", inner.join(" "))
    }

    #[test]
    fn filters_are_made_of_comparisons() {
        for (text, expected) in [
            ("uid=joe", "a3[4:uid 4:joe]"),
            ("(uid=joe)", "a3[4:uid 4:joe]"),
            ("(uid=)", "a3[4:uid 4:]"),
            ("(uid>=a)", "a5[4:uid 4:a]"),
            ("(uid<=a)", "a6[4:uid 4:a]"),
            ("(uid~=a)", "a8[4:uid 4:a]"),
            ("(mail=*)", "87:mail"),
            ("(cn=a*b*c)", "a4[4:cn 30[80:a 81:b 82:c]]"),
            ("(cn=*b*)", "a4[4:cn 30[81:b]]"),
            ("(cn=a*)", "a4[4:cn 30[80:a]]"),
            (r"(cn=\2a\28\5C)", r"a3[4:cn 4:*(\]"),
            ("(&(a=1)(!(b=2)))", "a0[a3[4:a 4:1] a2[a3[4:b 4:2]]]"),
            ("(|(a=1)(b;x-1.2=2))", "a1[a3[4:a 4:1] a3[4:b;x-1.2 4:2]]"),
        ] {
            assert_eq!(told(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let deep = "(!".repeat(100) + "(a=1)" + &")".repeat(100);
        for text in [
            "",
            "(",
            "()",
            "uid",
            "(uid)",
            "(uid=a",
            "(uid=a))",
            "(uid=a)(b=c)",
            "=a",
            "(=a)",
            "(&)",
            "(|)",
            "(!)",
            "(!a=1)",
            "(&(a=1)",
            "(&(a=1)b=2)",
            "(a=**)",
            "(a=(b)",
            r"(a=\)",
            r"(a=\2)",
            r"(a=\zz)",
            "(a b=1)",
            "(a:=1)",
            "(a=\0)",
            deep.as_str(),
        ] {
            assert_eq!(told(text), Err(NoFilter), "{text}");
        }
    }
}
