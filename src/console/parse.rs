//! Splits a string into commands: words, quotes, semicolons, comments. What the words mean is the
//! matter of `command`.

use std::borrow::Cow;

/// A piece of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandToken<'a> {
    Equals,
    /// In single quotes: a value, never a word.
    Text(Cow<'a, str>),
    /// Bare, or in double quotes.
    Word(Cow<'a, str>),
}

/// One command of a string of commands.
#[derive(PartialEq, Eq, Debug)]
pub struct ConsoleStatement<'a> {
    /// As it was written, without the semicolon.
    pub text: &'a str,
    pub tokens: Vec<CommandToken<'a>>,
}

/// A quote or a comment that is not closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unterminated;

/// Takes the first command off `rest`, passing over empty ones; `None` when there is no more.
pub fn next<'a>(rest: &mut &'a str) -> Option<Result<ConsoleStatement<'a>, Unterminated>> {
    loop {
        let source = *rest;
        let mut scanner = Scanner { rest: source };
        let tokens = match scanner.tokens() {
            Ok(tokens) => tokens,
            Err(unterminated) => {
                *rest = "";
                return Some(Err(unterminated));
            }
        };
        let text = &source[..source.len() - scanner.rest.len()];
        *rest = scanner.rest.strip_prefix(';').unwrap_or(scanner.rest);
        if !tokens.is_empty() {
            return Some(Ok(ConsoleStatement { text: text.trim(), tokens }));
        }
        if rest.is_empty() {
            return None;
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// The tokens up to the end or a semicolon.
    fn tokens(&mut self) -> Result<Vec<CommandToken<'a>>, Unterminated> {
        let mut tokens = Vec::new();
        loop {
            self.skip_blanks()?;
            let token = match self.rest.chars().next() {
                None | Some(';') => return Ok(tokens),
                Some('=') => {
                    self.rest = &self.rest[1..];
                    CommandToken::Equals
                }
                Some('\'') => CommandToken::Text(self.quoted('\'')?),
                Some('"') => CommandToken::Word(self.quoted('"')?),
                Some(_) => CommandToken::Word(self.bare().into()),
            };
            tokens.push(token);
        }
    }

    /// Passes over blanks and comments.
    fn skip_blanks(&mut self) -> Result<(), Unterminated> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or(Unterminated)?;
                self.rest = &self.rest[end + 2..];
            } else {
                return Ok(());
            }
        }
    }

    /// Text between two quotes, where two in a row stand for one.
    fn quoted(&mut self, quote: char) -> Result<Cow<'a, str>, Unterminated> {
        let inner = &self.rest[1..];
        let mut text = Cow::Borrowed("");
        let mut from = 0;
        loop {
            let end = from + inner[from..].find(quote).ok_or(Unterminated)?;
            let is_doubled = inner[end + 1..].starts_with(quote);
            let part = &inner[from..end + usize::from(is_doubled)];
            if text.is_empty() {
                text = Cow::Borrowed(part);
            } else {
                text.to_mut().push_str(part);
            }
            if !is_doubled {
                self.rest = &inner[end + 1..];
                return Ok(text);
            }
            from = end + 2;
        }
    }

    fn bare(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '=' | '\'' | '"');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut text: &str) -> Vec<Result<(&str, Vec<CommandToken<'_>>), Unterminated>> {
        std::iter::from_fn(|| next(&mut text))
            .map(|found| found.map(|statement| (statement.text, statement.tokens)))
            .collect()
    }

    fn word(text: &str) -> CommandToken<'_> {
        CommandToken::Word(text.into())
    }

    fn quoted(text: &str) -> CommandToken<'_> {
        CommandToken::Text(text.into())
    }

    #[test]
    fn semicolons_divide_commands_and_empty_ones_are_none() {
        assert_eq!(
            all(" SHOW  Pools ;; reload;"),
            [
                Ok(("SHOW  Pools", vec![word("SHOW"), word("Pools")])),
                Ok(("reload", vec![word("reload")])),
            ]
        );
        for text in ["", ";", " ;\n; ", "-- nothing", "/* a */ ; -- b\n"] {
            assert_eq!(all(text), [], "{text}");
        }
    }

    #[test]
    fn quotes_keep_what_is_in_them_together() {
        assert_eq!(
            all("set \"a\"\"b\" = 'it''s; ''so'''"),
            [Ok((
                "set \"a\"\"b\" = 'it''s; ''so'''",
                vec![word("set"), word("a\"b"), CommandToken::Equals, quoted("it's; 'so'")]
            ))]
        );
        assert_eq!(all("''"), [Ok(("''", vec![quoted("")]))]);
        assert_eq!(all("''''"), [Ok(("''''", vec![quoted("'")]))]);
        assert_eq!(
            all("k=-1.5"),
            [Ok(("k=-1.5", vec![word("k"), CommandToken::Equals, word("-1.5")]))]
        );
    }

    #[test]
    fn what_is_not_closed_ends_the_string() {
        for text in ["show '", "show \"x", "/* y", "reload; '''", "'''", "\"\"\""] {
            assert_eq!(all(text).last(), Some(&Err(Unterminated)), "{text}");
        }
    }

    #[test]
    fn any_text_is_taken_apart_without_panic() {
        for text in ["é=ü'ß'", "\u{2003}x\u{2003}", "=;='", "--", "/", "a/*b*/c"] {
            let _ = all(text);
        }
    }
}
