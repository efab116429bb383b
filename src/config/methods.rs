//! The list of ways in which servers may ask for a proof (`server_auth_methods`).

use super::choice::ServerAuth;
use super::value::{Kind, SettingType, ValueError};

/// Methods that are allowed, or, with a `!` before each, methods that are not. The empty list
/// allows every method, and names none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuthMethods {
    named: Vec<ServerAuth>,
    are_forbidden: bool,
}

impl AuthMethods {
    pub fn allow(&self, method: ServerAuth) -> bool {
        self.named.is_empty() || self.named.contains(&method) != self.are_forbidden
    }

    /// Whether the list allows a method by its name, so that the operator has decided on it.
    pub fn allow_by_name(&self, method: ServerAuth) -> bool {
        !self.are_forbidden && self.named.contains(&method)
    }
}

impl SettingType for AuthMethods {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        let mut methods = AuthMethods::default();
        if text.trim_ascii().is_empty() {
            return Ok(methods);
        }
        for (at, part) in text.split(',').map(str::trim_ascii).enumerate() {
            let word = part.strip_prefix('!');
            if at > 0 && word.is_some() != methods.are_forbidden {
                return Err(ValueError::MixedMethods);
            }
            methods.are_forbidden = word.is_some();
            let kind = Kind::Choice(ServerAuth::WORDS);
            methods.named.push(ServerAuth::read(word.unwrap_or(part), &kind)?);
        }
        Ok(methods)
    }

    fn show(&self, _: &Kind) -> Option<String> {
        let sign = if self.are_forbidden { "!" } else { "" };
        let words = self.named.iter().map(|method| format!("{sign}{}", method.word()));
        Some(words.collect::<Vec<_>>().join(","))
    }

    fn unset() -> Self {
        AuthMethods::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AuthMethods, ValueError> {
        AuthMethods::read(text, &Kind::Methods)
    }

    #[test]
    fn a_list_allows_what_it_names_or_all_but_what_it_forbids() {
        let cases: [(&str, [bool; 4], bool); 5] = [
            ("", [true; 4], false),
            ("scram-sha-256", [false, false, true, false], false),
            ("Password, md5", [true, true, false, false], true),
            ("!password", [false, true, true, true], false),
            ("!none,!md5", [true, false, true, false], false),
        ];
        let all =
            [ServerAuth::Password, ServerAuth::Md5, ServerAuth::ScramSha256, ServerAuth::None];
        for (text, expected, is_named) in cases {
            let methods = read(text).expect(text);
            assert_eq!(all.map(|method| methods.allow(method)), expected, "{text}");
            assert_eq!(methods.allow_by_name(ServerAuth::Password), is_named, "{text}");
            let shown = methods.show(&Kind::Methods).expect("a text");
            assert_eq!(read(&shown).as_ref(), Ok(&methods), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_methods_is_refused() {
        for text in ["md5,!password", "!md5,password"] {
            assert_eq!(read(text), Err(ValueError::MixedMethods), "{text}");
        }
        for text in ["scram", "!", ",", "md5,", "!!md5", "gss"] {
            assert_eq!(read(text), Err(ValueError::NotOneOf(ServerAuth::WORDS)), "{text}");
        }
    }
}
