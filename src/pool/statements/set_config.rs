//! A call of set_config within a statement: whether it is for the transaction only, and whether it
//! concerns a parameter that follows its client anyway.

use super::lexer::SqlToken;
use super::traces::{Effects, Traces};

/// Parameters that every server reports, and that follow their client: a SET of them leaves nothing
/// to others.
pub const REPORTED: [&[u8]; 6] = [
    b"application_name",
    b"client_encoding",
    b"datestyle",
    b"intervalstyle",
    b"standard_conforming_strings",
    b"timezone",
];

/// A call of set_config, whose third argument says whether it is for the transaction only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Call {
    #[default]
    None,
    /// The name has come.
    Named,
    Arguments {
        /// Open parentheses outside of the call.
        outside: u32,
        /// Commas that have come.
        commas: u32,
        /// The first one is a string, and names a parameter that follows its client.
        is_reported: bool,
        /// The third one is the word `true`.
        is_local: bool,
        /// The argument under way has begun.
        has_begun: bool,
    },
}

impl Call {
    /// Whether the closing parenthesis of the call has not come yet.
    pub fn is_open(&self) -> bool {
        matches!(self, Call::Arguments { .. })
    }

    /// Takes a token of the statement; `depth` parentheses are open after it.
    pub fn heed(&mut self, token: SqlToken<'_>, depth: u32, effects: &mut Effects) {
        let Call::Arguments { outside, commas, .. } = *self else {
            if *self == Call::Named && token == SqlToken::Sign(b'(') {
                *self = Call::Arguments {
                    outside: depth - 1,
                    commas: 0,
                    is_reported: false,
                    is_local: false,
                    has_begun: false,
                };
            } else if !matches!(token, SqlToken::Word { text: b"set_config", .. }) {
                *self = Call::None;
            }
            return;
        };
        let Call::Arguments { is_reported, is_local, has_begun, .. } = self else {
            return;
        };
        match token {
            SqlToken::Sign(b')') if depth == outside => {
                let leaves_nothing = *is_reported || *is_local && commas == 2;
                *self = Call::None;
                match leaves_nothing {
                    true => effects.sets_harmlessly = true,
                    false => effects.leave(Traces::SET),
                }
                return;
            }
            SqlToken::Sign(b',') if depth == outside + 1 => {
                *self = Call::Arguments {
                    outside,
                    commas: commas.saturating_add(1),
                    is_reported: *is_reported,
                    is_local: false,
                    has_begun: false,
                };
                return;
            }
            SqlToken::Text(text) if commas == 0 => {
                *is_reported = !*has_begun && REPORTED.iter().any(|n| text.eq_ignore_ascii_case(n));
            }
            SqlToken::Word { text: b"true", is_quoted: false } if commas == 2 => {
                *is_local = !*has_begun;
            }
            SqlToken::Sign(_) | SqlToken::Text(_) | SqlToken::Word { .. } => {
                *is_local = false;
                *is_reported &= commas > 0;
            }
        }
        *has_begun = true;
    }
}
