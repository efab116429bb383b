//! Unicode's normalization form KC (Unicode Standard Annex 15): texts that look the same, or differ
//! only in the form of their characters, become the same characters. The arithmetic of Hangul is
//! from chapter 3 of the standard.

use crate::base::order;
use crate::crypto::unicode::Tables;

const SYLLABLES: u32 = 0xac00;
const LEADING: u32 = 0x1100;
const VOWELS: u32 = 0x1161;
/// One before the first trailing consonant: a syllable may have none.
const TRAILING: u32 = 0x11a7;
const LEADING_COUNT: u32 = 19;
const VOWEL_COUNT: u32 = 21;
const TRAILING_COUNT: u32 = 28;
const SYLLABLE_COUNT: u32 = LEADING_COUNT * VOWEL_COUNT * TRAILING_COUNT;

pub fn normal_form(tables: &Tables, text: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut parts = Vec::new();
    for character in text {
        take_apart(tables, character, &mut parts);
    }
    sort_marks(&mut parts);
    compose(tables, &parts)
}

/// A character with its canonical combining class: 0 for one that others combine with.
type Classed = (u8, u32);

fn take_apart(tables: &Tables, character: u32, parts: &mut Vec<Classed>) {
    if let Some(syllable) = character.checked_sub(SYLLABLES).filter(|&it| it < SYLLABLE_COUNT) {
        let (rest, trailing) = (syllable / TRAILING_COUNT, syllable % TRAILING_COUNT);
        parts.push((0, LEADING + rest / VOWEL_COUNT));
        parts.push((0, VOWELS + rest % VOWEL_COUNT));
        if trailing > 0 {
            parts.push((0, TRAILING + trailing));
        }
        return;
    }
    for &part in tables.form(character).unwrap_or(&[character]) {
        parts.push((tables.class(part), part));
    }
}

/// Sorts marks that follow one another by their classes.
fn sort_marks(parts: &mut [Classed]) {
    for marks in parts.split_mut(|part| part.0 == 0) {
        if !marks.is_sorted_by_key(|mark| mark.0) {
            marks.copy_from_slice(&order::sorted(marks, |a, b| a.0.cmp(&b.0)));
        }
    }
}

/// Replaces a character and the mark that combines with it, or two characters that follow one
/// another, by the one character for both, where there is one.
fn compose(tables: &Tables, parts: &[Classed]) -> Vec<u32> {
    let mut text: Vec<u32> = Vec::new();
    // `base` is the place of the character that the next part may be joined to, `between` the class
    // of the last part after it. A part is joined only if its own class is higher.
    let (mut base, mut between) = (None, None);
    for &(class, part) in parts {
        let is_near = between.is_none_or(|between| between < class);
        if let Some(place) = base.filter(|_| is_near)
            && let Some(both) = joined(tables, text[place], part)
        {
            text[place] = both;
            continue;
        }
        if class == 0 {
            (base, between) = (Some(text.len()), None);
        } else {
            between = Some(class);
        }
        text.push(part);
    }
    text
}

fn joined(tables: &Tables, first: u32, second: u32) -> Option<u32> {
    let place = |character: u32, from: u32, count: u32| {
        character.checked_sub(from).filter(|&place| place < count)
    };
    if let Some(leading) = place(first, LEADING, LEADING_COUNT)
        && let Some(vowel) = place(second, VOWELS, VOWEL_COUNT)
    {
        return Some(SYLLABLES + (leading * VOWEL_COUNT + vowel) * TRAILING_COUNT);
    }
    if let Some(syllable) = place(first, SYLLABLES, SYLLABLE_COUNT)
        && let Some(trailing) = place(second, TRAILING, TRAILING_COUNT)
        && syllable % TRAILING_COUNT == 0
        && trailing > 0
    {
        return Some(first + trailing);
    }
    tables.pair(first, second)
}
