//! Values that are text with something to it: lists of names, and secrets.

use std::fmt;
use std::ops::Deref;

use super::value::{Field, Kind, ValueError};

/// Names from a list, and the list as it was written, which is what SHOW CONFIG prints.
///
/// Commas separate names, and so does space; a name that holds space counts beside its words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    text: String,
    names: Vec<String>,
}

impl Names {
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
            || self.text.split(',').any(|part| part.trim() == name && !name.is_empty())
    }
}

impl From<&str> for Names {
    fn from(text: &str) -> Names {
        let is_separator = |c: char| c == ',' || c.is_ascii_whitespace();
        let names = text.split(is_separator).filter(|name| !name.is_empty());
        Names { names: names.map(str::to_owned).collect(), text: text.to_owned() }
    }
}

impl Deref for Names {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.names
    }
}

impl Field for Names {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        Ok(Names::from(text))
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.text.clone())
    }
    fn unset() -> Self {
        Names::default()
    }
}

/// A password or what may hold one. It is never printed by Debug or SHOW.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the one who logs in with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What is shown in place of a secret.
const HIDDEN: &str = "<hidden>";

impl Field for Secret {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        Ok(Secret::new(text))
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(if self.0.is_empty() { "" } else { HIDDEN }.to_owned())
    }
    fn unset() -> Self {
        Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_spaces_separate_names_and_the_list_is_shown_as_written() {
        let names = Names::from(" a ,, b\tc,d e");
        assert_eq!(*names, ["a", "b", "c", "d", "e"]);
        assert!(names.contains("d e"));
        assert!(!names.contains("") && !names.contains("A") && !names.contains("b,c"));
        assert_eq!(names.show(&Kind::Names).as_deref(), Some(" a ,, b\tc,d e"));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?}"), "<hidden>");
        assert_eq!(secret.show(&Kind::Secret).as_deref(), Some("<hidden>"));
        assert_eq!(secret.expose(), "hush");
        assert_eq!(Secret::default().show(&Kind::Secret).as_deref(), Some(""));
    }
}
