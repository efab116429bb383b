//! Values that are text of a special kind: lists of names, and secrets.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use super::value::{Kind, SettingType, ValueError};
use crate::base::text::{is_space, trim_space};
use crate::base::wipe::wipe;

/// Names from a list, and the list as it was written, which is what SHOW CONFIG prints.
///
/// Commas separate names, and so do spaces. Text between commas that holds spaces counts as one
/// name too, beside its words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NameList {
    text: String,
    names: Vec<String>,
}

impl NameList {
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
            || self.text.split(',').any(|part| trim_space(part) == name && !name.is_empty())
    }
}

impl From<&str> for NameList {
    fn from(text: &str) -> NameList {
        let is_separator = |c: char| c == ',' || is_space(c);
        let names = text.split(is_separator).filter(|name| !name.is_empty());
        NameList { names: names.map(str::to_owned).collect(), text: text.to_owned() }
    }
}

impl Deref for NameList {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.names
    }
}

impl SettingType for NameList {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        Ok(NameList::from(text))
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.text.clone())
    }
    fn unset() -> Self {
        NameList::default()
    }
}

/// A password or what may hold one. It is never printed by Debug or SHOW.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HiddenText(String);

impl HiddenText {
    pub fn new(text: impl Into<String>) -> HiddenText {
        HiddenText(text.into())
    }

    /// The secret itself, for a login with it: the bytes that stand in the file.
    pub fn expose(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len());
        for c in self.0.chars() {
            match byte_of(c) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }
}

impl Drop for HiddenText {
    fn drop(&mut self) {
        wipe(&mut std::mem::take(&mut self.0).into_bytes());
    }
}

/// The last private characters of Unicode, which nobody types: they stand for bytes from 0x80 up
/// that are not UTF-8.
const STAND_INS: u32 = 0x10_ff00;

/// Bytes as text that keeps bytes which are not UTF-8, for a password in another encoding.
pub fn keeping_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let kept = chunk.invalid().iter().map(|byte| STAND_INS + u32::from(*byte));
        text.extend(kept.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)));
    }
    text
}

/// The same text for everything but a password: U+FFFD stands for what is not UTF-8.
pub fn readable(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| byte_of(c).is_some()) {
        return text.into();
    }
    let shown = |c| byte_of(c).map_or(c, |_| char::REPLACEMENT_CHARACTER);
    text.chars().map(shown).collect::<String>().into()
}

/// The byte that `c` stands for.
fn byte_of(c: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(c).checked_sub(STAND_INS)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What is shown in place of a secret.
const HIDDEN: &str = "<hidden>";

impl SettingType for HiddenText {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        Ok(HiddenText::new(text))
    }
    fn show(&self, _: &Kind) -> Option<String> {
        Some(if self.0.is_empty() { "" } else { HIDDEN }.to_owned())
    }
    fn unset() -> Self {
        HiddenText::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_spaces_separate_names_and_the_list_is_shown_as_written() {
        let names = NameList::from(" a ,, b\tc,d e");
        assert_eq!(*names, ["a", "b", "c", "d", "e"]);
        assert!(names.contains("d e"));
        assert!(!names.contains("") && !names.contains("A") && !names.contains("b,c"));
        assert_eq!(names.show(&Kind::Names).as_deref(), Some(" a ,, b\tc,d e"));
    }

    #[test]
    fn a_secret_keeps_the_bytes_of_the_file() {
        for bytes in [&b"caf\xe9"[..], b"\xff\x80\xc3", "caf\u{e9} \u{1f511}".as_bytes(), b""] {
            let text = keeping_bytes(bytes);
            assert_eq!(HiddenText::new(text.as_str()).expose(), bytes);
            assert_eq!(readable(&text), String::from_utf8_lossy(bytes).as_ref(), "{bytes:?}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = HiddenText::new("hush");
        assert_eq!(format!("{secret:?}"), "<hidden>");
        assert_eq!(secret.show(&Kind::Secret).as_deref(), Some("<hidden>"));
        assert_eq!(secret.expose(), b"hush");
        assert_eq!(HiddenText::default().show(&Kind::Secret).as_deref(), Some(""));
    }
}
