//! SASLprep (RFC 4013) of passwords for SCRAM: passwords that look the same become the same,
//! whichever way they were typed. As in PostgreSQL, a password that has no prepared form is used as
//! it is.

use crate::crypto::normal::normal_form;
use crate::crypto::unicode::{Tables, Treatment};

/// Prepares passwords. Unicode's tables are unpacked for the first one that is not ASCII.
#[derive(Default)]
pub struct Saslprep {
    tables: Option<Tables>,
}

impl Saslprep {
    /// The prepared form of a password, if it differs from the password.
    pub fn prepared(&mut self, password: &[u8]) -> Option<Vec<u8>> {
        if password.is_ascii() {
            return None;
        }
        let text = std::str::from_utf8(password).ok()?;
        let tables = self.tables.get_or_insert_with(Tables::unpacked);
        let form = form(tables, text)?.into_bytes();
        Some(form).filter(|form| !form.is_empty() && form != password)
    }
}

fn form(tables: &Tables, text: &str) -> Option<String> {
    let mapped =
        text.chars().map(u32::from).filter_map(|character| match tables.treatment(character) {
            Treatment::Space => Some(u32::from(' ')),
            Treatment::Nothing => None,
            _ => Some(character),
        });
    let form = normal_form(tables, mapped);
    let is_allowed =
        form.iter().all(|&character| tables.treatment(character) != Treatment::Refused);
    if !is_allowed || goes_both_ways(tables, &form) {
        return None;
    }
    form.into_iter().map(char::from_u32).collect()
}

/// Whether a text has right-to-left characters but breaks the rules for them: none may be
/// left-to-right, and the first and the last must be right-to-left (RFC 3454, section 6).
fn goes_both_ways(tables: &Tables, text: &[u32]) -> bool {
    let is = |treatment, character: Option<&u32>| {
        character.is_some_and(|it| tables.treatment(*it) == treatment)
    };
    let has = |treatment| text.iter().any(|character| is(treatment, Some(character)));
    has(Treatment::RightToLeft)
        && (has(Treatment::LeftToRight)
            || !is(Treatment::RightToLeft, text.first())
            || !is(Treatment::RightToLeft, text.last()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    #[test]
    fn what_looks_the_same_is_the_same() {
        let mut saslprep = Saslprep::default();
        let mut form = |text: &str| {
            saslprep.prepared(text.as_bytes()).map(|form| String::from_utf8(form).unwrap())
        };
        for (text, expected) in [
            ("I\u{ad}X", "IX"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("pass\u{fb01}", "passfi"),
            ("e\u{301}", "\u{e9}"),
            ("a\u{a0}b", "a b"),
        ] {
            assert_eq!(form(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_password_without_such_a_form_stays_as_it_is() {
        let mut saslprep = Saslprep::default();
        for text in ["user", "USER", "\u{7}", "caf\u{e9}", "\u{ad}", "\u{e9}\u{7}", "\u{627}1"] {
            assert_eq!(saslprep.prepared(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(saslprep.prepared(b"caf\xe9"), None, "no UTF-8");
    }

    /// The prepared form, by the crates whose tables are packed.
    fn expected(text: &str) -> Option<String> {
        stringprep::saslprep(text).ok().map(|form| form.into_owned())
    }

    #[test]
    fn each_character_comes_to_what_unicode_says() {
        let tables = Tables::unpacked();
        for character in '\0'..=char::MAX {
            let text = String::from(character);
            assert_eq!(form(&tables, &text), expected(&text), "{text:?}");
        }
    }

    #[test]
    fn characters_come_to_the_same_in_any_company() {
        let tables = Tables::unpacked();
        let hangul = "\u{1100}\u{1112}\u{1161}\u{1175}\u{11a7}\u{11a8}\u{11c2}\u{ac00}\u{ac01}";
        let interesting: Vec<char> = ('\0'..=char::MAX)
            .filter(|&it| tables.form(it.into()).is_some() || tables.class(it.into()) != 0)
            .chain("aeiou \u{5d0}\u{627}\u{a0}\u{ad}".chars().cycle().take(500))
            .chain(hangul.chars().cycle().take(500))
            .collect();
        let mut rng = SeededRng::new(7);
        for _ in 0..50_000 {
            let any = |_| interesting[rng.below(interesting.len() as u64) as usize];
            let text: String = (0..6).map(any).collect();
            assert_eq!(form(&tables, &text), expected(&text), "{text:?}");
        }
    }

    /// A password of 64 kB is the longest that a client may send.
    #[test]
    fn a_long_password_costs_no_more_for_its_length() {
        let text: String = ('\u{300}'..='\u{345}').rev().cycle().take(30_000).collect();
        let began = std::time::Instant::now();
        assert_eq!(form(&Tables::unpacked(), &text), expected(&text));
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
