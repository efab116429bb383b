//! Packs what SASLprep needs of Unicode into 25 kB. It is in the tables of `stringprep` and
//! `unicode-normalization`, which are made to be quick, and have 130 kB.
//!
//! A password with a character that was not assigned in Unicode 3.2 has no prepared form (RFC 4013,
//! 2.5). So nothing is kept of a later character but that it is refused, unless it comes to older
//! ones. `src/crypto/unicode.rs` reads what is written here, and says how it looks.

use stringprep::tables;
use unicode_normalization::char::{canonical_combining_class, compose};
use unicode_normalization::char::{decompose_canonical, decompose_compatible};

/// What becomes of a character. The numbers are those of `Treatment` in `src/crypto/unicode.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Treatment {
    Neutral = 0,
    LeftToRight = 1,
    RightToLeft = 2,
    Refused = 3,
    Space = 4,
    Nothing = 5,
}

pub struct Packed {
    pub treatments: Vec<u8>,
    pub classes: Vec<u8>,
    pub forms: Vec<u8>,
    pub pairs: Vec<u8>,
}

pub fn packed() -> Packed {
    let (mut treatments, mut classes) = (Runs::default(), Runs::default());
    let (mut forms, mut pairs) = (Vec::new(), Vec::new());
    for code in 0..=u32::from(char::MAX) {
        let seen = char::from_u32(code).map(|character| (character, Seen::of(character)));
        treatments.add(seen.as_ref().map_or(Treatment::Refused, |(_, seen)| seen.treatment) as u8);
        classes.add(seen.as_ref().map_or(0, |(character, seen)| match seen.treatment {
            Treatment::Neutral | Treatment::LeftToRight | Treatment::RightToLeft => {
                canonical_combining_class(*character)
            }
            Treatment::Refused | Treatment::Space | Treatment::Nothing => 0,
        }));
        if let Some((character, Seen { form, pair, .. })) = seen {
            forms.extend(form.map(|form| (character, form)));
            pairs.extend(pair.map(|(first, second)| (first, second, character)));
        }
    }
    pairs.sort_unstable();
    Packed {
        treatments: treatments.packed,
        classes: classes.packed,
        forms: packed_forms(&forms),
        pairs: packed_pairs(&pairs),
    }
}

/// What there is to know of a character.
struct Seen {
    treatment: Treatment,
    /// What it comes to, where that is not itself. Hangul is reckoned.
    form: Option<Vec<char>>,
    /// The two that make it when they meet.
    pair: Option<(char, char)>,
}

impl Seen {
    fn of(character: char) -> Seen {
        let treatment = treatment(character);
        let mut seen = Seen { treatment, form: None, pair: None };
        if matches!(treatment, Treatment::Space | Treatment::Nothing)
            || is_hangul_syllable(character)
        {
            return seen;
        }
        let mut form = Vec::new();
        decompose_compatible(character, |part| form.push(part));
        let is_other = form != [character];
        match form.iter().any(|&part| self::treatment(part) == Treatment::Refused) {
            true => seen.treatment = Treatment::Refused,
            false => seen.form = is_other.then_some(form),
        }
        for &part in seen.form.iter().flatten() {
            assert!(
                !matches!(self::treatment(part), Treatment::Space | Treatment::Nothing),
                "{character:?}"
            );
        }
        if let Some((first, second)) = pair(character) {
            let is_refused = [first, second].map(self::treatment).contains(&Treatment::Refused);
            assert_eq!(is_refused, seen.treatment == Treatment::Refused, "{character:?}");
            seen.pair = (!is_refused).then_some((first, second));
        }
        seen
    }
}

fn treatment(character: char) -> Treatment {
    if tables::non_ascii_space_character(character) {
        Treatment::Space
    } else if tables::commonly_mapped_to_nothing(character) {
        Treatment::Nothing
    } else if is_refused(character) {
        Treatment::Refused
    } else if tables::bidi_r_or_al(character) {
        Treatment::RightToLeft
    } else if tables::bidi_l(character) {
        Treatment::LeftToRight
    } else {
        Treatment::Neutral
    }
}

/// Prohibited (RFC 4013, 2.3), or not assigned in Unicode 3.2.
fn is_refused(character: char) -> bool {
    [
        tables::ascii_control_character,
        tables::non_ascii_control_character,
        tables::private_use,
        tables::non_character_code_point,
        tables::inappropriate_for_plain_text,
        tables::inappropriate_for_canonical_representation,
        tables::change_display_properties_or_deprecated,
        tables::tagging_character,
        tables::unassigned_code_point,
    ]
    .iter()
    .any(|has| has(character))
}

fn is_hangul_syllable(character: char) -> bool {
    ('\u{ac00}'..='\u{d7a3}').contains(&character)
}

/// The two that compose to a character: all that it is made of but the last, and the last.
fn pair(character: char) -> Option<(char, char)> {
    let mut parts = Vec::new();
    decompose_canonical(character, |part| parts.push(part));
    let last = parts.pop()?;
    let first = parts.into_iter().map(Some).reduce(|a, b| compose(a?, b?))??;
    (compose(first, last) == Some(character)).then_some((first, last))
}

/// Runs of code points of one value: how many, and the value.
#[derive(Default)]
struct Runs {
    packed: Vec<u8>,
    length: u32,
    value: u8,
}

impl Runs {
    /// Takes the value of the next code point; the last one ends the runs without being written.
    fn add(&mut self, value: u8) {
        if value != self.value {
            number(&mut self.packed, self.length);
            self.packed.push(self.value);
            (self.length, self.value) = (0, value);
        }
        self.length += 1;
    }
}

fn packed_forms(forms: &[(char, Vec<char>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    let (mut before, mut start) = (0, 0);
    for (character, form) in forms {
        number(&mut packed, u32::from(*character) - before);
        before = u32::from(*character);
        let mut near = start;
        for (place, &part) in form.iter().enumerate() {
            let goes_on = place + 1 < form.len();
            number(&mut packed, difference(near, part) << 1 | u32::from(goes_on));
            near = u32::from(part);
        }
        start = u32::from(form[0]);
    }
    packed
}

fn packed_pairs(pairs: &[(char, char, char)]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut before = [0; 3];
    for &(first, second, both) in pairs {
        for (before, part) in before.iter_mut().zip([first, second, both]) {
            number(&mut packed, difference(*before, part));
            *before = u32::from(part);
        }
    }
    packed
}

/// The way from one code point to another, the sign in the lowest bit.
fn difference(from: u32, to: char) -> u32 {
    let to = u32::from(to);
    if to >= from { (to - from) << 1 } else { (from - to) << 1 | 1 }
}

/// Seven bits in a byte, the lowest first; the highest bit says that more follow.
fn number(packed: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}
