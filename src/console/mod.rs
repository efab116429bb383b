//! The admin console: commands in, tables and tags out, over the simple and the extended protocol.
//!
//! The console reads the core and asks it to act; it does no I/O. A command is a row of
//! [`command`], a table is a list of columns in [`show`], and what is wrong with a command is a
//! [`refusal`].

mod command;
mod control;
mod data_row;
mod extended;
mod parse;
mod refusal;
mod script;
mod session;
mod set;
mod show;
mod table;
#[cfg(test)]
mod tests;

use crate::pool::core::Core;
use crate::pool::ids::ClientId;
use crate::pool::records::wait::WaitOutcome;
use session::ConsoleTurn;
pub use show::{MEASURES, VisibleClient, has_row, pool_names, pools, rowwise, visible_client};
pub use table::{
    BufferedBytes, Buffers, ColumnHead, Nature, Rowwise, Scene, Subject, Table, TableReader, Value,
};

/// Handles one whole message of a console session.
pub fn message(core: &mut Core, buffers: &dyn Buffers, id: ClientId, kind: u8, body: &[u8]) {
    let mut session = ConsoleTurn::new(core, buffers, id);
    session.message(kind, body);
    session.end_message();
    session.send();
}

/// Answers a command that took time and has ended.
pub fn finish(core: &mut Core, buffers: &dyn Buffers, id: ClientId, outcome: WaitOutcome) {
    let mut session = ConsoleTurn::new(core, buffers, id);
    session.finish(outcome);
    session.send();
}

/// The table that SHOW with this word shows, for readers outside of the console.
pub fn table(word: &str) -> Option<&'static dyn Table> {
    match show::find(word)?.answer {
        show::ShowOutput::Table(table) => Some(table),
        show::ShowOutput::Help => None,
    }
}

/// What the manual must name: the commands, each table with SHOW in front.
#[cfg(test)]
pub fn commands() -> Vec<String> {
    let commands = command::COMMANDS.iter().map(|command| command.word.to_owned());
    commands.chain(show::SHOWS.iter().map(|show| format!("SHOW {}", show.word))).collect()
}
