//! Unicode's tables for SASLprep: how each character is treated, which characters it decomposes to,
//! and which two characters compose to one. `build/saslprep.rs` packs them, from the tables of two
//! crates, when the program is built.
//!
//! A packed number has seven bits in each byte, the lowest first, and the highest bit of a byte
//! says that more follow. A difference has its sign in the lowest bit. Unpacked, the tables take
//! 110 kB.

/// What SASLprep does with a character. The numbers are those of `build/saslprep.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Treatment {
    Neutral,
    LeftToRight,
    RightToLeft,
    /// No password with it has a prepared form.
    Refused,
    /// It is replaced by a space.
    Space,
    /// It is left out.
    Nothing,
}

impl Treatment {
    fn of(number: u8) -> Treatment {
        match number {
            0 => Treatment::Neutral,
            1 => Treatment::LeftToRight,
            2 => Treatment::RightToLeft,
            4 => Treatment::Space,
            5 => Treatment::Nothing,
            _ => Treatment::Refused,
        }
    }
}

/// The tables, unpacked. Characters are numbers here.
pub struct Tables {
    treatments: Runs,
    classes: Runs,
    /// Characters that decompose, ascending, and where in `parts` their decompositions begin.
    forms: Vec<(u32, usize)>,
    parts: Vec<u32>,
    /// Two characters, ascending, and the one that they compose to.
    pairs: Vec<([u32; 2], u32)>,
}

impl Tables {
    pub fn unpacked() -> Tables {
        let (forms, parts) = forms(include_bytes!(concat!(env!("OUT_DIR"), "/forms")));
        Tables {
            treatments: Runs::unpacked(include_bytes!(concat!(env!("OUT_DIR"), "/treatments"))),
            classes: Runs::unpacked(include_bytes!(concat!(env!("OUT_DIR"), "/classes"))),
            forms,
            parts,
            pairs: pairs(include_bytes!(concat!(env!("OUT_DIR"), "/pairs"))),
        }
    }

    pub fn treatment(&self, character: u32) -> Treatment {
        self.treatments.value(character).map_or(Treatment::Refused, Treatment::of)
    }

    /// The canonical combining class.
    pub fn class(&self, character: u32) -> u8 {
        self.classes.value(character).unwrap_or(0)
    }

    /// The decomposition of a character, if it has one. Hangul is not in the table.
    pub fn form(&self, character: u32) -> Option<&[u32]> {
        let place = self.forms.binary_search_by_key(&character, |form| form.0).ok()?;
        let end = self.forms.get(place + 1).map_or(self.parts.len(), |next| next.1);
        self.parts.get(self.forms[place].1..end)
    }

    /// The character that two neighbours compose to, if there is one. Hangul is not in the table.
    pub fn pair(&self, first: u32, second: u32) -> Option<u32> {
        let place = self.pairs.binary_search_by_key(&[first, second], |pair| pair.0).ok()?;
        Some(self.pairs[place].1)
    }
}

/// Ends of runs of characters, ascending, and the value of each run.
struct Runs(Vec<(u32, u8)>);

impl Runs {
    fn unpacked(packed: &[u8]) -> Runs {
        let (mut packed, mut end, mut runs) = (Packed(packed), 0, Vec::new());
        while let Some((length, value)) = packed.number().zip(packed.byte()) {
            end += length;
            runs.push((end, value));
        }
        Runs(runs)
    }

    fn value(&self, character: u32) -> Option<u8> {
        let place = self.0.partition_point(|&(end, _)| end <= character);
        self.0.get(place).map(|run| run.1)
    }
}

/// For each character: its distance from the character before, and then its parts. A part is the
/// difference from the part before (for a first part, from the first part of the character before),
/// with one more bit, the lowest, that says whether more parts follow.
fn forms(packed: &[u8]) -> (Vec<(u32, usize)>, Vec<u32>) {
    let (mut forms, mut parts) = (Vec::new(), Vec::new());
    let (mut packed, mut character, mut start) = (Packed(packed), 0, 0);
    while let Some(distance) = packed.number() {
        character += distance;
        forms.push((character, parts.len()));
        let first = parts.len();
        let mut near = start;
        while let Some(number) = packed.number() {
            near = moved(near, number >> 1);
            parts.push(near);
            if number & 1 == 0 {
                break;
            }
        }
        start = parts.get(first).copied().unwrap_or(0);
    }
    (forms, parts)
}

/// Each of the three numbers is its difference from the same number of the pair before.
fn pairs(packed: &[u8]) -> Vec<([u32; 2], u32)> {
    let (mut packed, mut pairs) = (Packed(packed), Vec::new());
    let [mut first, mut second, mut both] = [0; 3];
    while let Some(number) = packed.number() {
        first = moved(first, number);
        second = moved(second, packed.number().unwrap_or(0));
        both = moved(both, packed.number().unwrap_or(0));
        pairs.push(([first, second], both));
    }
    pairs
}

fn moved(from: u32, difference: u32) -> u32 {
    let way = difference >> 1;
    if difference & 1 == 0 { from.wrapping_add(way) } else { from.wrapping_sub(way) }
}

/// What is still to be read of a table.
struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }
}
