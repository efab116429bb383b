//! The words of an SQL text, one after the other, whatever pieces the text comes in.
//!
//! Comments, strings and dollar quotes are passed over as PostgreSQL passes over them. Where that
//! cannot be told from the text alone (a backslash in a plain string means one thing with
//! `standard_conforming_strings` and another without; an encoding may have a backslash within a
//! character), no quote is trusted from there on, and each word counts. So the lexer may see a word
//! that is none, but it misses none.
//!
//! Source: PostgreSQL manual, "Lexical Structure"; 'scan.l' for what ends a token.

/// The longest word that matters. The end of a longer word is dropped.
const LONGEST_WORD_BYTES: usize = 64;

/// A token of the text, as far as readers need to tell tokens apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SqlToken<'a> {
    /// Folded to lower case unless quoted.
    Word { text: &'a [u8], is_quoted: bool },
    /// The end of a string, with the beginning of its content.
    Text(&'a [u8]),
    /// Any other byte that is no blank.
    Sign(u8),
}

/// Takes a text in pieces.
#[derive(Debug, Default)]
pub struct Lexer {
    place: LexerState,
    word: LexerWord,
    /// No quote and no comment is trusted any more.
    is_suspicious: bool,
    /// The byte before the one under way.
    before: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum LexerState {
    #[default]
    Code,
    Word,
    /// After `-` or `/`.
    Sign(u8),
    LineComment,
    BlockComment {
        depth: u32,
    },
    Quoted(Quote),
    /// After a `$` that may begin a dollar quote, or in its tag.
    DollarTag,
    /// In a dollar quote, whose tag is in `word`; `matched` bytes of its closing tag have come.
    DollarBody {
        matched: Option<u8>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Quote {
    /// The byte that ends it.
    end: u8,
    /// Backslashes escape.
    escapes: bool,
    is_escaped: bool,
}

/// The beginning of a word.
#[derive(Debug)]
struct LexerWord {
    bytes: [u8; LONGEST_WORD_BYTES],
    len: u8,
    is_cut: bool,
}

impl Default for LexerWord {
    fn default() -> LexerWord {
        LexerWord { bytes: [0; LONGEST_WORD_BYTES], len: 0, is_cut: false }
    }
}

impl LexerWord {
    fn clear(&mut self) {
        (self.len, self.is_cut) = (0, false);
    }

    fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(usize::from(self.len)) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.is_cut = true,
        }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Lexer {
    /// Each token goes to `heed`, with whether quotes are no longer trusted: then any word may be
    /// code, and may begin a statement, wherever it stands.
    pub fn feed(&mut self, bytes: &[u8], mut heed: impl FnMut(SqlToken<'_>, bool)) {
        for &byte in bytes {
            self.take(byte, &mut heed);
            self.before = byte;
        }
    }

    /// Ends the text.
    pub fn finish(&mut self, mut heed: impl FnMut(SqlToken<'_>, bool)) {
        match self.place {
            LexerState::Word | LexerState::DollarTag => self.end_word(&mut heed, false),
            LexerState::Sign(sign) => heed(SqlToken::Sign(sign), self.is_suspicious),
            LexerState::BlockComment { .. }
            | LexerState::Code
            | LexerState::DollarBody { .. }
            | LexerState::LineComment
            | LexerState::Quoted(_) => {}
        }
        self.place = LexerState::Code;
    }

    fn take(&mut self, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        match self.place {
            LexerState::Code => self.begin(byte, heed),
            LexerState::Word if is_part_of_word(byte) => self.word.push(byte.to_ascii_lowercase()),
            LexerState::Word => self.leave_word(byte, heed),
            LexerState::Sign(sign) => self.behind_sign(sign, byte, heed),
            LexerState::LineComment => {
                if matches!(byte, b'\n' | b'\r') {
                    self.place = LexerState::Code;
                }
            }
            LexerState::BlockComment { depth } => self.in_comment(depth, byte),
            LexerState::Quoted(quote) => self.in_quote(quote, byte, heed),
            LexerState::DollarTag => self.in_dollar_tag(byte, heed),
            LexerState::DollarBody { matched } => self.in_dollar_body(matched, byte, heed),
        }
    }

    fn begin(&mut self, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {}
            _ if is_start_of_word(byte) => {
                self.word.clear();
                self.word.push(byte.to_ascii_lowercase());
                self.place = LexerState::Word;
            }
            _ if self.is_suspicious => heed(SqlToken::Sign(byte), true),
            b'-' | b'/' => self.place = LexerState::Sign(byte),
            b'\'' | b'"' => self.open(byte, false),
            b'$' => {
                self.word.clear();
                self.place = LexerState::DollarTag;
            }
            _ => heed(SqlToken::Sign(byte), false),
        }
    }

    fn open(&mut self, end: u8, escapes: bool) {
        self.word.clear();
        self.place = LexerState::Quoted(Quote { end, escapes, is_escaped: false });
    }

    /// A word has ended at a byte that is not part of it.
    fn leave_word(&mut self, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        let is_prefix = byte == b'\'' && self.word.text() == b"e" && !self.is_suspicious;
        if is_prefix {
            return self.open(b'\'', true);
        }
        self.end_word(heed, false);
        self.begin(byte, heed);
    }

    fn end_word(&mut self, heed: &mut impl FnMut(SqlToken<'_>, bool), is_quoted: bool) {
        self.place = LexerState::Code;
        if self.word.len > 0 {
            heed(SqlToken::Word { text: self.word.text(), is_quoted }, self.is_suspicious);
        }
    }

    fn behind_sign(&mut self, sign: u8, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        self.place = LexerState::Code;
        match (sign, byte) {
            (b'-', b'-') => self.place = LexerState::LineComment,
            (b'/', b'*') => {
                self.place = LexerState::BlockComment { depth: 1 };
                self.word.clear();
            }
            _ => {
                heed(SqlToken::Sign(sign), false);
                self.begin(byte, heed);
            }
        }
    }

    /// Comments may be nested. A byte that was one half of a `/*` or `*/` is not a half of the
    /// next.
    fn in_comment(&mut self, depth: u32, byte: u8) {
        let before = self.word.text().last().copied();
        self.word.clear();
        match (before, byte) {
            (Some(b'/'), b'*') => {
                self.place = LexerState::BlockComment { depth: depth.saturating_add(1) };
            }
            (Some(b'*'), b'/') if depth == 1 => self.place = LexerState::Code,
            (Some(b'*'), b'/') => self.place = LexerState::BlockComment { depth: depth - 1 },
            _ => self.word.push(byte),
        }
    }

    fn in_quote(&mut self, mut quote: Quote, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        if quote.is_escaped {
            quote.is_escaped = false;
            self.place = LexerState::Quoted(quote);
            return;
        }
        if byte == b'\\' && quote.end == b'\'' {
            let is_plain = !quote.escapes;
            if is_plain || self.before >= 0x80 {
                return self.suspect(heed);
            }
            quote.is_escaped = true;
            self.place = LexerState::Quoted(quote);
            return;
        }
        if byte != quote.end {
            return self.word.push(byte);
        }
        // A doubled quote ends one string and begins another, which comes to the same.
        match quote.end {
            b'"' => self.end_word(heed, true),
            _ => {
                self.place = LexerState::Code;
                heed(SqlToken::Text(self.word.text()), false);
            }
        }
    }

    /// From here on no quote is trusted.
    fn suspect(&mut self, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        self.is_suspicious = true;
        self.place = LexerState::Code;
        heed(SqlToken::Text(b""), true);
    }

    fn in_dollar_tag(&mut self, byte: u8, heed: &mut impl FnMut(SqlToken<'_>, bool)) {
        let is_first = self.word.len == 0;
        match byte {
            b'$' if self.word.is_cut => self.suspect(heed),
            b'$' => self.place = LexerState::DollarBody { matched: None },
            _ if is_start_of_word(byte) || byte.is_ascii_digit() && !is_first => {
                self.word.push(byte);
            }
            // It was no quote: a parameter, or a sign and a word.
            _ => {
                heed(SqlToken::Sign(b'$'), false);
                self.word.bytes.make_ascii_lowercase();
                self.end_word(heed, false);
                self.begin(byte, heed);
            }
        }
    }

    fn in_dollar_body(
        &mut self,
        matched: Option<u8>,
        byte: u8,
        heed: &mut impl FnMut(SqlToken<'_>, bool),
    ) {
        let tag = self.word.text();
        let matched = match matched {
            Some(matched) if usize::from(matched) == tag.len() && byte == b'$' => {
                self.place = LexerState::Code;
                return heed(SqlToken::Text(b""), false);
            }
            Some(matched) if tag.get(usize::from(matched)) == Some(&byte) => Some(matched + 1),
            _ if byte == b'$' => Some(0),
            _ => None,
        };
        self.place = LexerState::DollarBody { matched };
    }
}

pub(super) fn is_start_of_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(super) fn is_part_of_word(byte: u8) -> bool {
    is_start_of_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    /// The tokens of a text, in a form to compare.
    fn tokens(pieces: &[&[u8]]) -> Vec<String> {
        let mut lexer = Lexer::default();
        let mut found = Vec::new();
        let mut heed = |token: SqlToken<'_>, _: bool| {
            found.push(match token {
                SqlToken::Word { text, is_quoted } => {
                    let text = String::from_utf8_lossy(text);
                    if is_quoted { format!("\"{text}\"") } else { text.into_owned() }
                }
                SqlToken::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
                SqlToken::Sign(sign) => char::from(sign).to_string(),
            });
        };
        for piece in pieces {
            lexer.feed(piece, &mut heed);
        }
        lexer.finish(&mut heed);
        found
    }

    #[test]
    fn a_text_is_taken_apart_as_postgresql_does() {
        for (sql, expected) in [
            ("SELECT 1", "select 1"),
            ("a-b--c\nd", "a - b d"),
            ("a/* b /* c */ d */e/f", "a e / f"),
            ("a /*/ b */ c", "a c"),
            ("'it''s' x", "'it' 's' x"),
            ("E'a\\'b' c", "'ab' c"),
            ("\"A b\".c", "\"A b\" . c"),
            ("$$ a $ b $$ c", "'' c"),
            ("$x$ $$ a $xx$ $y$x$ b", "'' b"),
            ("$1$x$ a $x$ b", "$ 1 '' b"),
            ("a$b$ c", "a$b$ c"),
            ("$a+b", "$ a + b"),
            ("x;y", "x ; y"),
            ("-", "-"),
        ] {
            assert_eq!(tokens(&[sql.as_bytes()]).join(" "), expected, "{sql}");
        }
    }

    #[test]
    fn behind_a_backslash_in_a_plain_string_every_word_counts() {
        assert_eq!(tokens(&[b"'a\\' , b 'c' -- d"]).join(" "), "'' ' , b ' c ' - - d");
        // A character of some encodings ends in a backslash.
        assert_eq!(tokens(&[b"E'\x95\\' , b"]).join(" "), "'' ' , b");
        let long = format!("${}$ a", "x".repeat(100));
        assert_eq!(tokens(&[long.as_bytes()]).join(" "), "'' a");
    }

    #[test]
    fn it_does_not_matter_in_what_pieces_a_text_comes() {
        let signs: Vec<u8> = b"aesET'\"\\$-/*;_. \n1\x80(".to_vec();
        for seed in 0..2000 {
            let mut rng = SeededRng::new(seed);
            let length = rng.below(60) as usize;
            let any = |_| signs[rng.below(signs.len() as u64) as usize];
            let text: Vec<u8> = (0..length).map(any).collect();
            let cut = rng.below(length as u64 + 1) as usize;
            let (one, two) = text.split_at(cut);
            assert_eq!(tokens(&[one, two]), tokens(&[&text]), "seed {seed}");
        }
    }
}
