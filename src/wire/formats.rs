//! The columns of a result that are sent in binary, as the format codes of Bind say.
//!
//! Source: PostgreSQL manual, "Message Formats", Bind and RowDescription.

use super::fields::Fields;

/// One bit for each column, set for binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formats(u64);

/// Why the format codes cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFormats {
    /// The message ends before the last code.
    Short,
    /// A code other than 0 (text) and 1 (binary).
    Code(u16),
    /// The number of codes is neither 0, nor 1, nor that of the columns.
    Count(u16),
}

impl Formats {
    pub const TEXT: Formats = Formats(0);
    const BINARY: Formats = Formats(u64::MAX);

    /// The most columns for which a result can have a code each.
    pub const MOST_COLUMNS: usize = u64::BITS as usize;

    /// Reads the codes for a result of `columns` columns.
    pub fn read(fields: &mut Fields<'_>, columns: usize) -> Result<Formats, BadFormats> {
        let count = fields.u16().ok_or(BadFormats::Short)?;
        let mut bits = 0;
        for at in 0..count {
            match fields.u16().ok_or(BadFormats::Short)? {
                0 => {}
                1 => bits |= bit(at.into()),
                code => return Err(BadFormats::Code(code)),
            }
        }
        match count {
            0 => Ok(Formats::TEXT),
            1 if bits == 0 => Ok(Formats::TEXT),
            1 => Ok(Formats::BINARY),
            _ if usize::from(count) == columns && columns <= Formats::MOST_COLUMNS => {
                Ok(Formats(bits))
            }
            _ => Err(BadFormats::Count(count)),
        }
    }

    pub fn is_binary(self, column: usize) -> bool {
        self.0 & bit(column) != 0
    }
}

fn bit(column: usize) -> u64 {
    if column < Formats::MOST_COLUMNS { 1 << column } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(codes: &[u16], columns: usize) -> Result<Formats, BadFormats> {
        let words = std::iter::once(codes.len() as u16).chain(codes.iter().copied());
        let bytes: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
        Formats::read(&mut Fields::new(&bytes), columns)
    }

    #[test]
    fn there_is_no_code_or_one_for_all_or_one_for_each() {
        assert_eq!(read(&[], 3), Ok(Formats::TEXT));
        assert_eq!(read(&[0], 3), Ok(Formats::TEXT));
        assert_eq!(read(&[1], 0), Ok(Formats::BINARY));
        let mixed = read(&[0, 1, 0, 1], 4).expect("one for each");
        let is_binary: Vec<bool> = (0..4).map(|column| mixed.is_binary(column)).collect();
        assert_eq!(is_binary, [false, true, false, true]);
        assert_eq!(read(&[1, 1], 3), Err(BadFormats::Count(2)));
        assert_eq!(read(&[0; 4], 3), Err(BadFormats::Count(4)));
        assert_eq!(read(&[0, 0], 0), Err(BadFormats::Count(2)));
    }

    #[test]
    fn other_codes_and_what_is_cut_off_are_refused() {
        assert_eq!(read(&[2], 1), Err(BadFormats::Code(2)));
        assert_eq!(read(&[1, 0, u16::MAX], 3), Err(BadFormats::Code(u16::MAX)));
        for cut in [&b""[..], b"\0", b"\0\x01", b"\0\x02\0\x01\0"] {
            assert_eq!(Formats::read(&mut Fields::new(cut), 2), Err(BadFormats::Short), "{cut:?}");
        }
        assert_eq!(read(&[1; 65], 65), Err(BadFormats::Count(65)));
        assert_eq!(read(&[1; 65_535], 3), Err(BadFormats::Count(65_535)));
    }
}
