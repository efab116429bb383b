//! A list of words of a choice: what clients may choose from (`pool_modes`, `session_states`).

use super::value::{Kind, SettingType, ValueError};

/// Words of one choice, each once, in the order in which they were written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choices<T>(Vec<T>);

impl<T: PartialEq> Choices<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, word: &T) -> bool {
        self.0.contains(word)
    }
}

impl<T: SettingType> Choices<T> {
    /// The words, separated by commas.
    pub fn words(&self) -> String {
        let words = self.0.iter().filter_map(|word| word.show(&Kind::Choice(&[])));
        words.collect::<Vec<_>>().join(",")
    }
}

impl<T: SettingType + PartialEq> SettingType for Choices<T> {
    fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
        let mut choices = Choices::unset();
        if text.trim_ascii().is_empty() {
            return Ok(choices);
        }
        let kind = match *kind {
            Kind::Choices(words) => Kind::Choice(words),
            other => other,
        };
        for part in text.split(',').map(str::trim_ascii) {
            let word = T::read(part, &kind)?;
            if !choices.0.contains(&word) {
                choices.0.push(word);
            }
        }
        Ok(choices)
    }

    fn show(&self, _: &Kind) -> Option<String> {
        Some(self.words())
    }

    fn unset() -> Self {
        Choices(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::PoolMode;
    use super::*;

    fn read(text: &str) -> Result<Choices<PoolMode>, ValueError> {
        Choices::read(text, &Kind::Choices(PoolMode::WORDS))
    }

    #[test]
    fn a_list_has_each_word_once_and_is_shown_as_it_can_be_read() {
        let modes = read(" Transaction , session,transaction").expect("a list");
        assert_eq!(modes.words(), "transaction,session");
        assert!(modes.contains(&PoolMode::Session) && !modes.contains(&PoolMode::Statement));
        assert_eq!(read(&modes.words()), Ok(modes));
        for text in ["", " "] {
            assert!(read(text).expect("an empty list").is_empty());
        }
    }

    #[test]
    fn what_is_no_list_of_words_is_refused() {
        for text in [",", "session,", "session transaction", "pooled"] {
            assert_eq!(read(text), Err(ValueError::NotOneOf(PoolMode::WORDS)), "{text}");
        }
    }
}
