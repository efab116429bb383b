//! Finds out whether a text leaves nothing in the session, as most texts do, without taking it
//! apart.

/// First words of statements that leave nothing in the session, unless another word in them tells
/// otherwise.
const PLAIN_HEADS: [ShortWord; 12] = [
    ShortWord::of(b"select"),
    ShortWord::of(b"insert"),
    ShortWord::of(b"update"),
    ShortWord::of(b"delete"),
    ShortWord::of(b"with"),
    ShortWord::of(b"begin"),
    ShortWord::of(b"commit"),
    ShortWord::of(b"rollback"),
    ShortWord::of(b"end"),
    ShortWord::of(b"values"),
    ShortWord::of(b"table"),
    ShortWord::of(b"start"),
];

/// A word of at most eight letters, to be compared in one go.
struct ShortWord {
    letters: u64,
    /// The bits that count.
    mask: u64,
    length: usize,
}

impl ShortWord {
    const fn of(word: &[u8]) -> ShortWord {
        let mut bytes = [0; 8];
        let (head, _) = bytes.split_at_mut(word.len());
        head.copy_from_slice(word);
        let mask = u64::MAX >> (64 - 8 * word.len());
        ShortWord { letters: u64::from_le_bytes(bytes), mask, length: word.len() }
    }

    /// Whether a text begins with the word; `start` is the beginning of the text, in lower case.
    #[inline(always)]
    fn begins(&self, start: u64, text: &[u8]) -> bool {
        start & self.mask == self.letters
            && !text.get(self.length).is_some_and(u8::is_ascii_alphabetic)
    }
}

/// Whether a text is one statement of a common kind, with no word in it that might leave something.
pub fn is_plain(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let mut start = [b' '; 8];
    start.iter_mut().zip(text).for_each(|(into, byte)| *into = byte | 0x20);
    let start = u64::from_le_bytes(start);
    PLAIN_HEADS.iter().any(|word| word.begins(start, text)) && !may_tell_more(text)
}

/// Which sequences of [`TELLING`] a byte may be part of: there is a bit for each sequence, in the
/// lowest byte as its first part, from [`SECOND`] on as its second, from [`THIRD`] on as its third.
/// [`ALONE`] is for bytes that count alone.
type Parts = u32;

const SECOND: u32 = 8;
const THIRD: u32 = 16;
const ALONE: Parts = 1 << 24;

/// Sequences of three bytes, one of which is in every word that counts, in upper or lower case; a
/// blank stands for any byte. The words are `pg_advisory_lock` and all others that begin with
/// `pg_`, `set_config`, `dblink_connect` and `temp`.
const TELLING: [&[u8; 3]; 4] = [b"g_ ", b" _c", b"emp", b"dvi"];

/// The parts for each byte. A semicolon may end the first of several statements, `&` may belong to
/// `U&"`, and another reader may take a NUL for the end.
const PARTS: [Parts; 256] = {
    let mut parts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if matches!(byte as u8, b';' | b'&' | 0) {
            parts[byte] = ALONE;
        }
        let mut kind = 0;
        while kind < TELLING.len() {
            let mut place = 0;
            while place < 3 {
                let wanted = TELLING[kind][place];
                if wanted == b' ' || wanted == (byte as u8).to_ascii_lowercase() {
                    parts[byte] |= 1 << (kind as u32 + 8 * place as u32);
                }
                place += 1;
            }
            kind += 1;
        }
        byte += 1;
    }
    parts
};

/// Whether there may be a second statement, or one of the words that count in any statement.
fn may_tell_more(text: &[u8]) -> bool {
    let (mut first, mut both, mut tells) = (0, 0, 0);
    for byte in text {
        let parts = PARTS[usize::from(*byte)];
        tells |= both & parts >> THIRD | parts & ALONE;
        both = first & parts >> SECOND;
        first = parts & 0xff;
    }
    tells != 0
}
