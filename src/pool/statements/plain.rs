//! Whether a text leaves nothing in the session, as most do, found out without taking it apart.

/// First words of statements that leave nothing but what a word within them tells of.
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

    /// Whether a text begins with it; `start` is how the text begins, in lower case.
    #[inline(always)]
    fn begins(&self, start: u64, text: &[u8]) -> bool {
        start & self.mask == self.letters
            && !text.get(self.length).is_some_and(u8::is_ascii_alphabetic)
    }
}

/// Whether a text is one statement of a common kind, with nothing in it that might tell of more.
pub fn is_plain(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let mut start = [b' '; 8];
    start.iter_mut().zip(text).for_each(|(into, byte)| *into = byte | 0x20);
    let start = u64::from_le_bytes(start);
    PLAIN_HEADS.iter().any(|word| word.begins(start, text)) && !may_tell_more(text)
}

/// What a byte may be part of, as the first, second and third byte of three. Each bit of the three
/// stands for one thing that counts; the highest, for what counts alone.
type Parts = u32;

const SECOND: u32 = 8;
const THIRD: u32 = 16;
const ALONE: Parts = 1 << 24;

/// The threes of bytes of which words that count have one, whatever their case; a blank stands for
/// any byte. They are of `pg_advisory_lock` and all else that begins with `pg_`, of `set_config`,
/// `dblink_connect` and `temp`.
const TELLING: [&[u8; 3]; 4] = [b"g_ ", b" _c", b"emp", b"dvi"];

/// By byte. A semicolon may end the first of several statements, `&` may be of `U&"`, and where a
/// NUL stands another reader may see the end.
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

/// Whether there may be a second statement, or one of the words that count in any.
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
