//! The value of a parameter: its bytes, and their encoding where it matters.
//!
//! ASCII bytes mean the same in every encoding of PostgreSQL. Other bytes mean nothing without
//! their encoding: in another one they may be a different text, or invalid.

use std::borrow::Cow;

/// A value, split into bytes and encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VarValue<'a> {
    pub bytes: &'a [u8],
    /// `None` if the value is ASCII; empty while the encoding is unknown.
    pub encoding: Option<&'a [u8]>,
}

impl<'a> VarValue<'a> {
    /// Splits what [`keep`] has made.
    pub fn of(kept: &'a [u8]) -> VarValue<'a> {
        match kept.iter().position(|&byte| byte == 0) {
            Some(end) => VarValue { bytes: &kept[end + 1..], encoding: Some(&kept[..end]) },
            None => VarValue { bytes: kept, encoding: None },
        }
    }

    pub fn lacks_encoding(self) -> bool {
        self.encoding.is_some_and(<[u8]>::is_empty)
    }
}

/// The form in which a value is kept: if it is not ASCII, the name of its encoding and a NUL
/// precede it. No value contains a NUL, so two kept values are equal if their bytes and encodings
/// are.
pub fn keep<'a>(bytes: &'a [u8], encoding: &[u8]) -> Cow<'a, [u8]> {
    match bytes.is_ascii() {
        true => bytes.into(),
        false => [encoding, b"\0", bytes].concat().into(),
    }
}

/// The value with a question mark for each byte that is not ASCII.
pub fn ascii_of(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte.is_ascii() { byte } else { b'?' }).collect()
}

/// Whether the bytes are valid UTF-8 and the encoding is UTF-8.
pub fn is_utf8(bytes: &[u8], encoding: &[u8]) -> bool {
    is_name_of_utf8(encoding) && std::str::from_utf8(bytes).is_ok()
}

/// Whether the encoding is UTF-8 and the bytes are not valid in it.
pub fn is_broken_utf8(bytes: &[u8], encoding: &[u8]) -> bool {
    is_name_of_utf8(encoding) && std::str::from_utf8(bytes).is_err()
}

fn is_name_of_utf8(encoding: &[u8]) -> bool {
    [&b"UTF8"[..], b"UNICODE"].iter().any(|name| is_same_encoding(name, encoding))
}

/// Compares names of encodings as PostgreSQL does, except for aliases.
pub fn is_same_encoding(one: &[u8], other: &[u8]) -> bool {
    let letters = |name: &[u8]| {
        let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        letters.map(u8::to_ascii_lowercase).collect::<Vec<u8>>()
    };
    letters(one) == letters(other)
}

/// Appends the statement that sets one parameter. A list of identifiers such as search_path is
/// reported as SQL text, which SET would take for one identifier; set_config takes it as reported.
pub fn push_set(sql: &mut Vec<u8>, name: &str, value: &[u8]) {
    let is_list = name.eq_ignore_ascii_case("search_path");
    let (before, after) = match is_list {
        true => (format!("SELECT pg_catalog.set_config('{name}', "), ", false);"),
        false => (format!("SET {name}="), ";"),
    };
    sql.extend_from_slice(before.as_bytes());
    push_literal(sql, value);
    sql.extend_from_slice(after.as_bytes());
}

/// Appends a literal that means the same under all values of standard_conforming_strings,
/// backslash_quote and the encodings. In some encodings the last byte of a character may be that of
/// a backslash. So a value that is not ASCII is not escaped but dollar-quoted: a dollar sign is
/// part of no character.
fn push_literal(sql: &mut Vec<u8>, value: &[u8]) {
    if !value.is_ascii() {
        let tag = free_tag(value);
        return sql.extend([tag.as_bytes(), value, tag.as_bytes()].concat());
    }
    if value.contains(&b'\\') {
        sql.push(b'E');
    }
    sql.push(b'\'');
    for &byte in value {
        if matches!(byte, b'\\' | b'\'') {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'\'');
}

/// A dollar-quote tag that occurs neither in the value nor where the value runs into the closing
/// tag: it has one more letter than any that begins in the value.
fn free_tag(value: &[u8]) -> String {
    let letters = |part: &[u8]| part.iter().take_while(|&&byte| byte == b'v').count();
    let longest = value.split(|&byte| byte == b'$').skip(1).map(letters).max();
    format!("${}$", "v".repeat(longest.unwrap_or_default() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(value: &[u8]) -> Vec<u8> {
        let mut sql = Vec::new();
        push_literal(&mut sql, value);
        sql
    }

    #[test]
    fn what_is_ascii_is_quoted_whatever_a_backslash_means() {
        assert_eq!(literal(b"it's"), b"'it''s'");
        assert_eq!(literal(b"a\\'b"), b"E'a\\\\''b'");
    }

    #[test]
    fn what_is_not_ascii_stands_between_tags_that_it_does_not_hold() {
        assert_eq!(literal(b"\xc1\\',x"), b"$v$\xc1\\',x$v$");
        assert_eq!(literal(b"\xc1$v$"), b"$vv$\xc1$v$$vv$");
        // The value ends in what could be the beginning of the tag.
        assert_eq!(literal(b"\xc1$vv"), b"$vvv$\xc1$vv$vvv$");
    }

    #[test]
    fn a_value_reads_back_with_its_encoding() {
        let read = |bytes: &[u8]| {
            let kept = keep(bytes, b"LATIN1").into_owned();
            let value = VarValue::of(&kept);
            (value.bytes.to_vec(), value.encoding.map(<[u8]>::to_vec))
        };
        assert_eq!(read(b"plain"), (b"plain".to_vec(), None));
        assert_eq!(read(b"\xe9t\xe9"), (b"\xe9t\xe9".to_vec(), Some(b"LATIN1".to_vec())));
        assert!(VarValue::of(&keep(b"\xe9", b"")).lacks_encoding());
        assert!(is_same_encoding(b"utf-8", b"UTF8") && !is_same_encoding(b"SJIS", b"EUC_JP"));
        assert!(is_utf8("é".as_bytes(), b"unicode") && !is_utf8(b"\xe9", b"UTF8"));
        assert!(is_broken_utf8(b"\xe9", b"unicode") && !is_broken_utf8(b"\xe9", b"LATIN1"));
        assert!(!is_broken_utf8("é".as_bytes(), b"UTF8"));
    }

    #[test]
    fn a_search_path_is_set_as_it_was_reported() {
        let mut sql = Vec::new();
        push_set(&mut sql, "search_path", b"\"$user\", public");
        push_set(&mut sql, "TimeZone", b"UTC");
        assert_eq!(
            String::from_utf8(sql).unwrap(),
            "SELECT pg_catalog.set_config('search_path', '\"$user\", public', false);\
             SET TimeZone='UTC';"
        );
    }
}
