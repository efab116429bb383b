//! Passwords as SCRAM takes them (RFC 4013): what looks the same is the same, whichever way it was
//! typed. As in PostgreSQL, a password that has no such form is taken as it is.

/// The prepared form of a password, where it is another.
pub fn prepared(password: &[u8]) -> Option<Vec<u8>> {
    if password.is_ascii() {
        return None;
    }
    let text = std::str::from_utf8(password).ok()?;
    let form = stringprep::saslprep(text).ok()?.into_owned().into_bytes();
    Some(form).filter(|form| !form.is_empty() && form != password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        let form =
            |text: &str| prepared(text.as_bytes()).map(|form| String::from_utf8(form).unwrap());
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
        for text in ["user", "USER", "\u{7}", "caf\u{e9}", "\u{ad}", "\u{e9}\u{7}", "\u{627}1"] {
            assert_eq!(prepared(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(prepared(b"caf\xe9"), None, "no UTF-8");
    }
}
