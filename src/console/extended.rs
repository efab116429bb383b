//! The extended protocol on the console: Parse, Bind, Describe, Execute, Close, Sync.
//!
//! A statement is kept as its text. A portal lives until Sync, as in PostgreSQL outside of a
//! transaction. Results are text or binary, as Bind asks for each column; there are no parameters.
//!
//! Source: PostgreSQL manual, "Message Flow", section "Extended Query".

use super::command;
use super::data_row;
use super::parse::{self, CommandToken};
use super::refusal::{Hint, Refusal};
use super::session::{ConsoleTurn, Done, LONGEST_REPLY_BYTES, RowFormat};
use super::show::{Show, ShowOutput};
use super::table::Table;
use crate::pool::records::client::{ConsolePortal, ConsoleSession};
use crate::wire::build::{self, Message};
use crate::wire::fields::Fields;
use crate::wire::formats::{BadFormats, Formats};
use crate::wire::head::{self, HEAD_BYTES, ParsedHead};
use crate::wire::kind::Back;

/// The most statements, and the most portals, that one session may have.
const MOST_STATEMENTS: usize = 200;

/// Bytes that the texts of one session's statements may have together.
const MOST_TEXT_BYTES: usize = 1024 * 1024;

type ExtendedResult<T> = std::result::Result<T, Refusal>;

impl ConsoleTurn<'_> {
    /// Carries out one step; after an error the session ignores all messages up to Sync.
    pub fn extended(&mut self, step: impl FnOnce(&mut Self) -> ExtendedResult<()>) {
        self.may_wait = true;
        if let Err(refusal) = step(self) {
            self.fail(&refusal);
        }
    }

    pub fn sync(&mut self) {
        if let Some(state) = self.state() {
            state.is_skipping = false;
            state.portals.clear();
        }
        self.ready();
    }

    pub fn parse(&mut self, body: &[u8]) -> ExtendedResult<()> {
        let mut fields = Fields::new(body);
        let (name, text) = (text_of(&mut fields)?, text_of(&mut fields)?);
        if fields.u16().ok_or(Refusal::MalformedMessage)? != 0 {
            return Err(Refusal::Parameters);
        }
        shown_table(&text)?;
        let Some(state) = self.state() else { return Ok(()) };
        state.add_statement(name, text)?;
        build::empty_back(&mut self.out, Back::ParseComplete);
        Ok(())
    }

    pub fn bind(&mut self, body: &[u8]) -> ExtendedResult<()> {
        let mut fields = Fields::new(body);
        let (portal, name) = (text_of(&mut fields)?, text_of(&mut fields)?);
        read_formats(&mut fields, 0)?;
        if fields.u16().ok_or(Refusal::MalformedMessage)? != 0 {
            return Err(Refusal::Parameters);
        }
        let Some(state) = self.state() else { return Ok(()) };
        let text: Box<str> = state.statement(&name)?.into();
        let columns = shown_table(&text)?.map_or(0, |table| table.heads().len());
        let formats = read_formats(&mut fields, columns)?;
        state.add_portal(ConsolePortal { name: portal, text, formats, left: None })?;
        build::empty_back(&mut self.out, Back::BindComplete);
        Ok(())
    }

    pub fn describe(&mut self, body: &[u8]) -> ExtendedResult<()> {
        let (kind, name) = target(body)?;
        let Some(state) = self.state() else { return Ok(()) };
        let (table, formats) = match kind {
            b'S' => (shown_table(state.statement(&name)?)?, Formats::TEXT),
            _ => {
                let portal = state.portal(&name)?;
                (shown_table(&portal.text)?, portal.formats)
            }
        };
        if kind == b'S' {
            Message::back(&mut self.out, Back::ParameterDescription).u16(0).end();
        }
        match table {
            Some(table) => data_row::push_description(&mut self.out, table, formats),
            None => build::empty_back(&mut self.out, Back::NoData),
        }
        Ok(())
    }

    pub fn execute(&mut self, body: &[u8]) -> ExtendedResult<()> {
        let mut fields = Fields::new(body);
        let name = text_of(&mut fields)?;
        let most = fields.u32().ok_or(Refusal::MalformedMessage)? as usize;
        let Some(state) = self.state() else { return Ok(()) };
        let portal = state.portal(&name)?;
        let (text, formats) = (portal.text.clone(), portal.formats);
        if let Some((answer, from)) = portal.left.take() {
            return self.give(&name, answer, from, most);
        }
        self.core.count_command(self.id);
        // The rows and the tag are appended to the answers that are there already.
        let before = self.out.len();
        match self.execute_text(&text, formats)? {
            None => build::empty_back(&mut self.out, Back::EmptyQuery),
            Some(Done::Over) => {}
            Some(Done::Waits(tag)) => self.wait(Some(tag), None),
            Some(Done::Tag(tag)) => {
                build::command_complete(&mut self.out, &tag);
                let answer = self.out.split_off(before);
                return self.give(&name, answer, 0, most);
            }
        }
        Ok(())
    }

    /// Carries out the one command of a text; `None` when it holds none.
    fn execute_text(&mut self, text: &str, formats: Formats) -> ExtendedResult<Option<Done>> {
        let mut rest = text;
        let Some(found) = parse::next(&mut rest) else { return Ok(None) };
        let statement = found.map_err(|_| Refusal::invalid(text, Hint::Unterminated))?;
        self.rows = RowFormat::Bound(formats);
        command::run(self, &statement.tokens, text).map(Some)
    }

    /// Sends at most `most` rows of an answer (0 is all), from byte `from` on, and keeps the rest
    /// for the next Execute.
    fn give(
        &mut self,
        name: &str,
        answer: Vec<u8>,
        from: usize,
        most: usize,
    ) -> ExtendedResult<()> {
        let end = from + end_of_rows(&answer[from..], most);
        self.out.extend_from_slice(&answer[from..end]);
        if end == answer.len() {
            return Ok(());
        }
        let Some(state) = self.state() else { return Ok(()) };
        let left = state.portals.iter().flat_map(|portal| &portal.left);
        let kept: usize = left.map(|(answer, _)| answer.len()).sum();
        if kept + answer.len() > LONGEST_REPLY_BYTES {
            return Err(Refusal::ReplyTooLong);
        }
        state.portal(name)?.left = Some((answer, end));
        build::empty_back(&mut self.out, Back::PortalSuspended);
        Ok(())
    }

    pub fn close(&mut self, body: &[u8]) -> ExtendedResult<()> {
        let (kind, name) = target(body)?;
        let Some(state) = self.state() else { return Ok(()) };
        match kind {
            b'S' => state.statements.retain(|(known, _)| *known != name),
            _ => state.portals.retain(|portal| portal.name != name),
        }
        build::empty_back(&mut self.out, Back::CloseComplete);
        Ok(())
    }
}

impl ConsoleSession {
    fn statement(&self, name: &str) -> ExtendedResult<&str> {
        let found = self.statements.iter().find(|(known, _)| **known == *name);
        found.map(|(_, text)| &**text).ok_or_else(|| Refusal::UnknownStatement(name.into()))
    }

    fn portal(&mut self, name: &str) -> ExtendedResult<&mut ConsolePortal> {
        let found = self.portals.iter_mut().find(|portal| *portal.name == *name);
        found.ok_or_else(|| Refusal::UnknownPortal(name.into()))
    }

    /// A new unnamed statement replaces the old one; a name can be given only once.
    fn add_statement(&mut self, name: Box<str>, text: Box<str>) -> ExtendedResult<()> {
        let is_known = self.statements.iter().any(|(known, _)| *known == name);
        if is_known && !name.is_empty() {
            return Err(Refusal::StatementTaken(name));
        }
        self.statements.retain(|(known, _)| *known != name);
        let bytes: usize = self.statements.iter().map(|(name, text)| name.len() + text.len()).sum();
        let is_full = self.statements.len() >= MOST_STATEMENTS;
        if is_full || bytes + name.len() + text.len() > MOST_TEXT_BYTES {
            return Err(Refusal::TooManyStatements);
        }
        self.statements.push((name, text));
        Ok(())
    }

    fn add_portal(&mut self, portal: ConsolePortal) -> ExtendedResult<()> {
        let is_known = self.portals.iter().any(|known| known.name == portal.name);
        if is_known && !portal.name.is_empty() {
            return Err(Refusal::PortalTaken(portal.name));
        }
        self.portals.retain(|known| known.name != portal.name);
        let bytes: usize = self.portals.iter().map(|p| p.name.len() + p.text.len()).sum();
        if self.portals.len() >= MOST_STATEMENTS || bytes + portal.text.len() > MOST_TEXT_BYTES {
            return Err(Refusal::TooManyStatements);
        }
        self.portals.push(portal);
        Ok(())
    }
}

/// The table that the one command of a text shows, if it shows any. An unknown command is an error.
fn shown_table(text: &str) -> ExtendedResult<Option<&'static dyn Table>> {
    let mut rest = text;
    let Some(found) = parse::next(&mut rest) else { return Ok(None) };
    let statement = found.map_err(|_| Refusal::invalid(text, Hint::Unterminated))?;
    if let Some(more) = parse::next(&mut rest) {
        more.map_err(|_| Refusal::invalid(text, Hint::Unterminated))?;
        return Err(Refusal::NotOneCommand);
    }
    let is_parameter = |token: &CommandToken<'_>| match token {
        CommandToken::Word(word) => word.starts_with('$'),
        CommandToken::Equals | CommandToken::Text(_) => false,
    };
    if statement.tokens.iter().any(is_parameter) {
        return Err(Refusal::Parameters);
    }
    Ok(match command::look_up(&statement.tokens, text)? {
        Some(Show { answer: ShowOutput::Table(table), .. }) => Some(*table),
        Some(Show { answer: ShowOutput::Help, .. }) | None => None,
    })
}

/// Where the first `most` rows of an answer end; the end of the answer if it has no more rows, or
/// `most` is 0.
fn end_of_rows(answer: &[u8], most: usize) -> usize {
    let (mut at, mut rows) = (0, 0);
    while let ParsedHead::Head(head) = head::parse(&answer[at..]) {
        if head.kind == Back::DataRow as u8 {
            if most > 0 && rows == most {
                return at;
            }
            rows += 1;
        }
        at += HEAD_BYTES + head.body;
    }
    answer.len()
}

/// What Describe and Close are about: `S` for a statement, `P` for a portal, and its name.
fn target(body: &[u8]) -> ExtendedResult<(u8, Box<str>)> {
    let mut fields = Fields::new(body);
    let kind = fields.u8().filter(|kind| matches!(kind, b'S' | b'P'));
    Ok((kind.ok_or(Refusal::MalformedMessage)?, text_of(&mut fields)?))
}

fn text_of(fields: &mut Fields<'_>) -> ExtendedResult<Box<str>> {
    let bytes = fields.cstr().ok_or(Refusal::MalformedMessage)?;
    Ok(String::from_utf8_lossy(bytes).into())
}

fn read_formats(fields: &mut Fields<'_>, columns: usize) -> ExtendedResult<Formats> {
    Formats::read(fields, columns).map_err(|bad| match bad {
        BadFormats::Short => Refusal::MalformedMessage,
        BadFormats::Code(code) => Refusal::FormatCode(code),
        BadFormats::Count(given) => Refusal::FormatCount { given, columns },
    })
}
