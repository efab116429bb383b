//! What two servers answered to one program, without what may differ, and how it is shown.

use crate::program::short;
use crate::support::Message;

/// Takes out what two servers cannot have in common: places in PostgreSQL's source, names of
/// statements in texts of errors, and process ids in notifications.
pub fn plain(messages: Vec<Message>) -> Vec<Message> {
    messages.into_iter().filter(|message| !is_of_parsing(message)).map(plain_message).collect()
}

/// A WARNING of the scanner ("nonstandard use of \\ in a string literal") comes when a text is
/// parsed, which a shared one is once for all clients.
fn is_of_parsing(message: &Message) -> bool {
    message.kind == b'N' && message.field('C').as_deref() == Some("22P06")
}

fn plain_message(mut message: Message) -> Message {
    match message.kind {
        b'E' | b'N' => {
            let fields = message.body.split(|byte| *byte == 0);
            let kept = fields.filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')));
            message.body = kept.map(without_name).collect::<Vec<_>>().join(&0);
        }
        b'A' => drop(message.body.drain(..4)),
        _ => {}
    }
    message
}

/// `prepared statement "x" does not exist` for any x.
fn without_name(field: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(field);
    let Some((before, rest)) = text.split_once("prepared statement \"") else {
        return field.to_vec();
    };
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    format!("{before}prepared statement{after}").into_bytes()
}

/// The place of the first message that differs, if any.
pub fn first_difference(one: &[Message], other: &[Message]) -> Option<usize> {
    let longer = one.len().max(other.len());
    (0..longer).find(|at| one.get(*at) != other.get(*at))
}

/// What kinds of messages differ first, by SQLSTATE where they are errors.
pub fn nature(one: &[Message], other: &[Message]) -> Option<[(u8, String); 2]> {
    let at = first_difference(one, other)?;
    let kind = |messages: &[Message]| {
        messages.get(at).map_or((0, String::new()), |message| {
            let is_report = matches!(message.kind, b'E' | b'N');
            let field = |code| message.field(code).filter(|_| is_report).unwrap_or_default();
            (message.kind, field('S') + &field('C'))
        })
    };
    Some([kind(one), kind(other)])
}

/// Messages around a place.
pub fn around(messages: &[Message], at: usize) -> String {
    let shown = messages.iter().skip(at.saturating_sub(3)).take(9).map(show);
    shown.collect::<Vec<_>>().join(" ")
}

fn show(message: &Message) -> String {
    let kind = message.kind as char;
    match kind {
        'E' | 'N' => {
            let field = |code| message.field(code).unwrap_or_default();
            format!("{kind}({} {} {})", field('S'), field('C'), field('M'))
        }
        'D' if message.body.len() < 200 => format!("D{:?}", message.values()),
        'C' | 'S' | 'Z' | '!' => format!("{kind}({})", message.text().replace('\0', "=")),
        _ => format!("{kind}[{}]", short(&message.body.len().to_string())),
    }
}
