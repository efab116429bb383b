//! What the text of a message may do to the session of its server: one pass over its words.
//!
//! No parser: the first words of each statement say what kind it is, and a few names of functions
//! count wherever they stand. What is not sure counts as done, and what code of the server's does
//! (functions, DO, CALL, triggers) is not seen. Most texts are plain, which is found out without
//! taking them apart.
//!
//! Source: PostgreSQL manual, "SQL Commands"; 'gram.y' for what may stand where.

use super::lexer::{Lexer, Token};
use super::plain::is_plain;
use super::set_config::{Call, REPORTED};
use super::traces::{Effects, Traces};

/// The effects of a whole text.
#[inline]
pub fn read(text: &[u8]) -> Effects {
    if is_plain(text) { Effects::default() } else { read_words(text) }
}

fn read_words(text: &[u8]) -> Effects {
    let mut scan = Scan::default();
    scan.feed(text);
    scan.finish()
}

/// Takes a text in pieces.
#[derive(Debug, Default)]
pub struct Scan {
    lexer: Lexer,
    reader: Reader,
}

impl Scan {
    pub fn feed(&mut self, text: &[u8]) {
        let reader = &mut self.reader;
        self.lexer.feed(text, |token, is_suspicious| reader.take(token, is_suspicious));
    }

    pub fn finish(mut self) -> Effects {
        let reader = &mut self.reader;
        self.lexer.finish(|token, is_suspicious| reader.take(token, is_suspicious));
        self.reader.end_statement();
        self.reader.effects
    }
}

/// What is known of the statement under way, and of those before it.
#[derive(Debug, Default)]
struct Reader {
    effects: Effects,
    head: Head,
    /// The word before this token.
    before: Before,
    /// Parentheses that are open.
    depth: u32,
    call: Call,
    /// Behind a semicolon that may be one, in a text of which no quote is trusted.
    begins_anywhere: bool,
}

/// How far the first words of a statement have been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Head {
    #[default]
    Start,
    /// Nothing more depends on where a word stands.
    Other,
    Close,
    Copy,
    Deallocate,
    Declare,
    Discard,
    Insert,
    Prepare,
    /// A transaction, or a statement of that name.
    PrepareTransaction,
    Reset,
    ResetSession,
    /// SELECT pg_advisory_unlock_all(), so far.
    Select(Unlock),
    Set,
    /// A word behind SET that may be the parameter's name, or say what is set.
    SetWord(SetWord),
    /// SET extra_float_digits TO, and whether 1, 2 or 3 has come behind it.
    SetDigits(bool),
    SetSession,
    SetAuthorization,
    Unlisten,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SetWord {
    /// extra_float_digits.
    Digits,
    /// LOCAL, TRANSACTION, CONSTRAINTS: nothing is left.
    Harmless,
    /// The name of a parameter that follows its client; TIME ZONE and NAMES stand for two.
    Reported,
    Role,
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unlock {
    Begun,
    Schema,
    Dot,
    Name,
    Open,
    Closed,
}

/// The word before a token, where it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Before {
    #[default]
    Other,
    /// CREATE, OR REPLACE, GLOBAL, LOCAL: TEMP may follow.
    Create,
    From,
    Into,
    With,
    /// A `&`, behind which a quote may hold a name in escapes.
    Ampersand,
}

impl Reader {
    fn take(&mut self, token: Token<'_>, is_suspicious: bool) {
        match token {
            Token::Sign(b';') => {
                self.end_statement();
                self.begins_anywhere = is_suspicious;
                return;
            }
            Token::Sign(b'(') => self.depth = self.depth.saturating_add(1),
            Token::Sign(b')') => self.depth = self.depth.saturating_sub(1),
            Token::Sign(_) | Token::Text(_) | Token::Word { .. } => {}
        }
        if let Token::Word { text, is_quoted } = token {
            if self.before == Before::Ampersand && is_quoted {
                // A name in escapes, such as U&"\0073et_config", may be any.
                self.effects.leave(Traces::ALL.without(Traces::LASTING));
            }
            self.heed_name(text, is_quoted, is_suspicious);
            if self.begins_anywhere {
                self.may_begin(text);
            }
        }
        self.head = self.next_head(token);
        self.call.heed(token, self.depth, &mut self.effects);
        self.before = Before::of(token);
    }

    fn end_statement(&mut self) {
        if self.head == Head::Select(Unlock::Closed) {
            self.effects.clear(Traces::LOCK);
        }
        if self.head == Head::SetDigits(true) {
            self.effects.leave(Traces::DIGITS);
            self.effects.sets_harmlessly = true;
        }
        if self.call.is_open() || self.head == Head::SetDigits(false) {
            self.effects.leave(Traces::SET);
        }
        self.call = Call::None;
        (self.head, self.before, self.depth) = (Head::Start, Before::Other, 0);
    }

    /// A word that may or may not be the first of a statement.
    fn may_begin(&mut self, word: &[u8]) {
        let may_leave = match word {
            b"call" | b"do" => Traces::UNKNOWN,
            b"declare" => Traces::CURSOR,
            b"listen" => Traces::LISTEN,
            b"load" => Traces::LASTING,
            b"prepare" => Traces::PREPARED,
            b"set" => AUTHORIZATION.and(Traces::SET),
            _ => Traces::NONE,
        };
        self.note_channels(word);
        self.effects.leave(may_leave);
        self.head = Head::Other;
    }

    /// The first word of a statement that has to do with channels.
    fn note_channels(&mut self, word: &[u8]) {
        self.effects.needs_channels |= matches!(word, b"unlisten" | b"discard" | b"savepoint");
        self.effects.notifies |= word == b"notify";
    }

    /// Names that count wherever they stand.
    fn heed_name(&mut self, name: &[u8], is_quoted: bool, is_suspicious: bool) {
        let effects = &mut self.effects;
        if contains(name, b"advisory") {
            effects.touches_locks = true;
            if !contains(name, b"xact") && !contains(name, b"unlock") {
                effects.leave(Traces::LOCK);
            }
        } else if name.starts_with(b"pg_temp") {
            effects.leave(Traces::TEMPORARY);
        } else if name == b"pg_notify" {
            effects.notifies = true;
        } else if is_lasting(name) {
            effects.leave(Traces::LASTING);
        } else if name == b"set_config" {
            if is_suspicious || self.call != Call::None {
                effects.leave(Traces::SET);
            }
            self.call = Call::Named;
            return;
        }
        if is_quoted {
            return;
        }
        effects.executes |= name == b"execute";
        effects.copies_in |= name == b"stdin"
            && (self.head, self.before, self.depth) == (Head::Copy, Before::From, 0);
        let is_into = self.before == Before::Into && self.head != Head::Insert;
        let may_be_temporary = is_into || self.before == Before::Create || is_suspicious;
        effects.leave(match name {
            b"temp" | b"temporary" if may_be_temporary => Traces::TEMPORARY,
            b"hold" if self.head == Head::Declare && self.before == Before::With => Traces::CURSOR,
            _ => Traces::NONE,
        });
    }

    fn next_head(&mut self, token: Token<'_>) -> Head {
        let word = match token {
            Token::Word { text, is_quoted: false } => text,
            _ => return self.behind_head(token),
        };
        match self.head {
            Head::Start => self.begin(word),
            Head::Close if word == b"all" => self.done(Traces::CURSOR),
            Head::Deallocate if word == b"prepare" => Head::Deallocate,
            Head::Deallocate if word == b"all" => self.done(Traces::PREPARED),
            Head::Discard => match word {
                b"all" => self.done(Traces::DISCARDED),
                b"temp" | b"temporary" => self.done(Traces::TEMPORARY),
                _ => Head::Other,
            },
            Head::Prepare if word == b"transaction" => Head::PrepareTransaction,
            Head::Reset => match word {
                b"all" => self.done(Traces::SET.and(Traces::DIGITS)),
                b"role" => self.done(Traces::ROLE),
                b"session_authorization" => self.done(AUTHORIZATION),
                b"session" => Head::ResetSession,
                _ => Head::Other,
            },
            Head::ResetSession if word == b"authorization" => self.done(AUTHORIZATION),
            Head::Select(Unlock::Begun) if word == b"pg_catalog" => Head::Select(Unlock::Schema),
            Head::Select(Unlock::Begun | Unlock::Dot) if word == b"pg_advisory_unlock_all" => {
                Head::Select(Unlock::Name)
            }
            Head::Set => self.behind_set(word),
            Head::SetWord(known) => self.behind_set_word(known, word),
            Head::SetSession => self.behind_set_session(word),
            Head::SetAuthorization if word == b"default" => {
                self.effects.sets_harmlessly = true;
                self.done(AUTHORIZATION)
            }
            _ => self.behind_head(token),
        }
    }

    /// The first word of a statement.
    fn begin(&mut self, word: &[u8]) -> Head {
        self.note_channels(word);
        match word {
            b"close" => Head::Close,
            b"copy" => Head::Copy,
            b"deallocate" => Head::Deallocate,
            b"declare" => Head::Declare,
            b"discard" => Head::Discard,
            b"insert" => Head::Insert,
            b"prepare" => Head::Prepare,
            b"reset" => Head::Reset,
            b"select" => Head::Select(Unlock::Begun),
            b"set" => Head::Set,
            b"unlisten" => Head::Unlisten,
            b"call" | b"do" => self.leave(Traces::UNKNOWN),
            b"listen" => self.leave(Traces::LISTEN),
            b"load" => self.leave(Traces::LASTING),
            _ => Head::Other,
        }
    }

    /// A token that the words before it do not make something of.
    fn behind_head(&mut self, token: Token<'_>) -> Head {
        let is_sign = |sign| token == Token::Sign(sign);
        match self.head {
            Head::Copy | Head::Declare | Head::Insert => self.head,
            Head::Prepare => self.leave(Traces::PREPARED),
            Head::PrepareTransaction if matches!(token, Token::Text(_)) => Head::Other,
            Head::PrepareTransaction => self.leave(Traces::PREPARED),
            Head::Select(Unlock::Schema) if is_sign(b'.') => Head::Select(Unlock::Dot),
            Head::Select(Unlock::Name) if is_sign(b'(') => Head::Select(Unlock::Open),
            Head::Select(Unlock::Open) if is_sign(b')') => Head::Select(Unlock::Closed),
            Head::Set | Head::SetSession => self.behind_set_token(token),
            Head::SetWord(SetWord::Reported) if !is_sign(b'.') => self.set_harmlessly(),
            Head::SetWord(SetWord::Role) if !is_sign(b'.') => self.leave(Traces::ROLE),
            Head::SetWord(SetWord::Digits) if is_sign(b'=') => Head::SetDigits(false),
            Head::SetDigits(false) if b"123".iter().any(|digit| is_sign(*digit)) => {
                Head::SetDigits(true)
            }
            Head::SetDigits(_) => self.leave(Traces::SET),
            Head::SetWord(SetWord::Session) if !is_sign(b'.') && !is_sign(b'=') => {
                self.behind_set_token(token)
            }
            Head::SetWord(SetWord::Harmless) if !is_sign(b'.') && !is_sign(b'=') => {
                self.set_harmlessly()
            }
            Head::SetWord(_) => self.leave(Traces::SET),
            Head::SetAuthorization => self.leave(AUTHORIZATION),
            Head::Unlisten if is_sign(b'*') => self.done(Traces::LISTEN),
            _ => Head::Other,
        }
    }

    fn behind_set(&mut self, word: &[u8]) -> Head {
        Head::SetWord(match word {
            b"local" | b"transaction" | b"constraints" => SetWord::Harmless,
            b"session" => SetWord::Session,
            _ => return self.name_set(word),
        })
    }

    /// The name of what is set.
    fn name_set(&mut self, name: &[u8]) -> Head {
        match name {
            b"time" | b"names" => Head::SetWord(SetWord::Reported),
            b"role" => Head::SetWord(SetWord::Role),
            b"session_authorization" => self.leave(AUTHORIZATION),
            b"extra_float_digits" => Head::SetWord(SetWord::Digits),
            _ if REPORTED.contains(&name) => Head::SetWord(SetWord::Reported),
            _ => self.leave(Traces::SET),
        }
    }

    /// A word behind one that may have been a name: `SET local TO 1` sets a parameter.
    fn behind_set_word(&mut self, known: SetWord, word: &[u8]) -> Head {
        match known {
            SetWord::Harmless | SetWord::Session if word == b"to" => self.leave(Traces::SET),
            SetWord::Digits if word == b"to" => Head::SetDigits(false),
            SetWord::Digits => self.leave(Traces::SET),
            SetWord::Harmless | SetWord::Reported => self.set_harmlessly(),
            SetWord::Role => self.leave(Traces::ROLE),
            SetWord::Session => self.behind_set_session(word),
        }
    }

    fn behind_set_session(&mut self, word: &[u8]) -> Head {
        match word {
            b"authorization" => Head::SetAuthorization,
            b"session" => Head::SetSession,
            _ => self.name_set(word),
        }
    }

    /// A name in quotes, or what makes no sense and is refused.
    fn behind_set_token(&mut self, token: Token<'_>) -> Head {
        match token {
            Token::Word { text, .. } => self.name_set(&text.to_ascii_lowercase()),
            Token::Sign(_) | Token::Text(_) => self.leave(Traces::SET),
        }
    }

    fn leave(&mut self, traces: Traces) -> Head {
        self.effects.leave(traces);
        Head::Other
    }

    fn set_harmlessly(&mut self) -> Head {
        self.effects.sets_harmlessly = true;
        Head::Other
    }

    fn done(&mut self, cleared: Traces) -> Head {
        self.effects.clear(cleared);
        Head::Other
    }
}

/// What SET SESSION AUTHORIZATION changes: it takes a role that was SET away, too.
const AUTHORIZATION: Traces = Traces::AUTHORIZATION.and(Traces::ROLE);

impl Before {
    fn of(token: Token<'_>) -> Before {
        match token {
            Token::Sign(b'&') => Before::Ampersand,
            Token::Word { text, is_quoted: false } => match text {
                b"create" | b"global" | b"local" | b"replace" => Before::Create,
                b"from" => Before::From,
                b"into" => Before::Into,
                b"with" => Before::With,
                _ => Before::Other,
            },
            _ => Before::Other,
        }
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

/// Functions whose effect no command of the session undoes.
fn is_lasting(name: &[u8]) -> bool {
    name.starts_with(b"dblink_connect")
        || name == b"pg_replication_origin_session_setup"
        || contains(name, b"replication_slot")
            && (name.starts_with(b"pg_create") || name.starts_with(b"pg_copy"))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
