//! A line of an HBA file or ident map taken apart into words, commas and quoted texts. `#` begins a
//! comment. Whether a word was quoted matters: `"all"` is a name, `all` is everyone.

use crate::base::text::is_space;

/// One piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineToken<'a> {
    Comma,
    /// Between double quotes, with doubled ones made single.
    Quoted(Box<[u8]>),
    Word(&'a [u8]),
}

/// The line cannot be taken apart: a quote is not closed, or there is a NUL byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedLine;

/// Gives the tokens of a line one by one.
#[derive(Clone, Debug)]
pub struct LineTokens<'a> {
    rest: &'a [u8],
}

impl<'a> LineTokens<'a> {
    pub fn of(line: &'a [u8]) -> LineTokens<'a> {
        LineTokens { rest: line }
    }

    /// The next token; None at the end of the line, or where a comment begins.
    pub fn next(&mut self) -> Result<Option<LineToken<'a>>, MalformedLine> {
        let space = self.rest.iter().take_while(|&&byte| is_space(byte)).count();
        self.rest = &self.rest[space..];
        match self.rest.first() {
            None | Some(b'#') => Ok(None),
            Some(0) => Err(MalformedLine),
            Some(b',') => {
                self.rest = &self.rest[1..];
                Ok(Some(LineToken::Comma))
            }
            Some(b'"') => self.quoted().map(Some),
            Some(_) => {
                let len = self.rest.iter().position(|&b| ends_word(b)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(len);
                self.rest = rest;
                Ok(Some(LineToken::Word(word)))
            }
        }
    }

    /// Like [`LineTokens::next`], without taking it.
    pub fn peek(&self) -> Result<Option<LineToken<'a>>, MalformedLine> {
        self.clone().next()
    }

    /// What has not been taken yet, as it stands in the line.
    pub fn rest(&self) -> &'a [u8] {
        self.rest.trim_ascii()
    }

    fn quoted(&mut self) -> Result<LineToken<'a>, MalformedLine> {
        let mut text = Vec::new();
        let mut rest = &self.rest[1..];
        loop {
            let len = rest.iter().position(|&b| b == b'"' || b == 0).ok_or(MalformedLine)?;
            text.extend_from_slice(&rest[..len]);
            match rest[len..] {
                [b'"', b'"', ..] => {
                    text.push(b'"');
                    rest = &rest[len + 2..];
                }
                [b'"', ..] => {
                    self.rest = &rest[len + 1..];
                    return Ok(LineToken::Quoted(text.into()));
                }
                _ => return Err(MalformedLine),
            }
        }
    }
}

fn ends_word(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b',' | b'#' | b'"' | 0)
}

/// The lines of a file, counted from 1.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (1..).zip(text.split(|&byte| byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> Result<Vec<String>, MalformedLine> {
        let mut words = LineTokens::of(line.as_bytes());
        let mut all = Vec::new();
        while let Some(token) = words.next()? {
            all.push(match token {
                LineToken::Comma => ",".to_string(),
                LineToken::Quoted(text) => format!("<{}>", String::from_utf8_lossy(&text)),
                LineToken::Word(text) => String::from_utf8_lossy(text).into_owned(),
            });
        }
        Ok(all)
    }

    #[test]
    fn words_end_at_space_comma_quote_and_comment() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("a\x0bb\x0c c\x0b", &["a", "b", "c"]),
            ("  host\tall  \r", &["host", "all"]),
            ("a,b , c", &["a", ",", "b", ",", "c"]),
            ("a\"b c\"d", &["a", "<b c>", "d"]),
            ("\"a\"\"b\" \"\"", &["<a\"b>", "<>"]),
            ("a#b", &["a"]),
            ("# a", &[]),
        ];
        for (line, words) in cases {
            assert_eq!(taken(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn open_quotes_and_nul_bytes_are_refused() {
        for line in ["\"a", "\"a\"\"", "a \"", "a\0b", "\"a\0\""] {
            assert_eq!(taken(line), Err(MalformedLine), "{line:?}");
        }
    }
}
