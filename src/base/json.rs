//! Writes JSON (RFC 8259). The writer sets commas; the caller closes what it opens.

use std::fmt::Write;

#[derive(Default)]
pub struct Json(String);

impl Json {
    pub fn into_text(self) -> String {
        self.0
    }

    /// Adds a comma, unless what follows is the first in its object or array.
    fn separate(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(',');
        }
    }

    // The answers of `pages` call these a hundred times, so they are not compiled into each place.
    #[inline(never)]
    pub fn open(&mut self, bracket: char) -> &mut Json {
        self.separate();
        self.0.push(bracket);
        self
    }

    #[inline(never)]
    pub fn close(&mut self, bracket: char) -> &mut Json {
        self.0.push(bracket);
        self
    }

    /// Adds a key; its value must follow.
    #[inline(never)]
    pub fn key(&mut self, key: &str) -> &mut Json {
        self.text(key);
        self.0.push(':');
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Json {
        self.separate();
        push_text(&mut self.0, text);
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Json {
        self.literal(format_args!("{number}"))
    }

    pub fn flag(&mut self, is_set: bool) -> &mut Json {
        self.literal(format_args!("{is_set}"))
    }

    /// Adds members of an object that are JSON already; none if the text is empty.
    pub fn members(&mut self, members: &str) -> &mut Json {
        if !members.is_empty() {
            self.separate();
            self.0.push_str(members);
        }
        self
    }

    fn literal(&mut self, literal: std::fmt::Arguments<'_>) -> &mut Json {
        self.separate();
        let written = self.0.write_fmt(literal);
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        self
    }
}

/// Appends a text in quotes. Nothing in it can end a line, or a script that holds it.
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '<' | '\u{2028}' | '\u{2029}') => {
                let written = write!(out, "\\u{:04x}", u32::from(c));
                debug_assert!(written.is_ok(), "writing to memory cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_and_texts_are_escaped() {
        let mut json = Json::default();
        json.open('{').key("a").number(1).key("b").open('[').text("x\"\\\n\u{1}é<").flag(true);
        json.open('{').close('}').close(']').close('}');
        assert_eq!(json.into_text(), r#"{"a":1,"b":["x\"\\\n\u0001é\u003c",true,{}]}"#);
    }

    #[test]
    fn members_that_were_written_apart_take_their_place() {
        let mut members = Json::default();
        members.key("a").number(1).key("b").text("");
        let mut json = Json::default();
        json.open('{').members("").members(&members.into_text()).key("c").flag(false).close('}');
        assert_eq!(json.into_text(), r#"{"a":1,"b":"","c":false}"#);
    }
}
