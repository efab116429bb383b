//! Messages of a session, strings of commands, and the commands that a session waits for.

use super::command;
use super::parse;
use super::refusal::{Hint, Refusal};
use super::session::{ConsoleTurn, Done, LONGEST_REPLY_BYTES};
use crate::pool::records::client::{PendingCommand, Script};
use crate::pool::records::wait::WaitOutcome;
use crate::wire::build;
use crate::wire::kind::{Back, Front};

/// The most commands in one string.
const MOST_COMMANDS: usize = 100;

impl ConsoleTurn<'_> {
    /// Handles one whole message.
    pub fn message(&mut self, kind: u8, body: &[u8]) {
        let kind_of = Front::from_byte(kind);
        if self.is_skipping() && kind_of != Some(Front::Sync) {
            return;
        }
        match kind_of {
            Some(Front::Query) => self.query(body),
            // The judge has closed the session already.
            Some(Front::Terminate) => {}
            Some(Front::Parse) => self.extended(|session| session.parse(body)),
            Some(Front::Bind) => self.extended(|session| session.bind(body)),
            Some(Front::Describe) => self.extended(|session| session.describe(body)),
            Some(Front::Execute) => self.extended(|session| session.execute(body)),
            Some(Front::Close) => self.extended(|session| session.close(body)),
            Some(Front::Sync) => self.sync(),
            // Flush makes `send` send what was kept. COPY messages outside of a COPY are ignored,
            // as in PostgreSQL.
            Some(Front::Flush | Front::CopyData | Front::CopyDone | Front::CopyFail) => {}
            Some(Front::FunctionCall | Front::Password) | None => {
                self.refuse(&Refusal::UnknownMessage(kind));
                self.ready();
            }
        }
    }

    fn query(&mut self, body: &[u8]) {
        self.core.count_command(self.id);
        let end = body.iter().position(|&byte| byte == 0);
        let Some(end) = end else {
            self.refuse(&Refusal::MalformedMessage);
            return self.ready();
        };
        let text = String::from_utf8_lossy(&body[..end]);
        self.run(&text, Script::default());
    }

    /// Carries out the commands of a string, up to one that takes time. `done` tells what has been
    /// done of the string already.
    fn run(&mut self, script: &str, mut done: Script) {
        let mut rest = script;
        while let Some(found) = parse::next(&mut rest) {
            done.commands += 1;
            let answered = self.out.len();
            let is_all = done.commands == 1 && rest.trim().is_empty();
            let text = if is_all { Some(script) } else { None };
            let result = self.check_length(&done).and_then(|()| {
                let unterminated = |_| Refusal::invalid(script, Hint::Unterminated);
                let statement = found.map_err(unterminated)?;
                command::run(self, &statement.tokens, text.unwrap_or(statement.text))
            });
            match result {
                Ok(Done::Tag(tag)) => {
                    build::command_complete(&mut self.out, &tag);
                    if self.has_had_its_turn(answered) {
                        done.rest = rest.into();
                        done.bytes += self.out.len();
                        return self.let_others_go_first(Some(done));
                    }
                }
                Ok(Done::Waits(tag)) => {
                    done.rest = rest.into();
                    done.bytes += self.out.len();
                    return self.wait(Some(tag), Some(done));
                }
                Ok(Done::Over) => return,
                Err(refusal) => {
                    self.refuse(&refusal);
                    return self.ready();
                }
            }
        }
        if done.commands == 0 {
            build::empty_back(&mut self.out, Back::EmptyQuery);
        }
        self.ready();
    }

    fn check_length(&self, done: &Script) -> Result<(), Refusal> {
        if done.commands > MOST_COMMANDS {
            return Err(Refusal::TooManyCommands);
        }
        let is_long = done.bytes + self.out.len() > LONGEST_REPLY_BYTES;
        if is_long { Err(Refusal::ReplyTooLong) } else { Ok(()) }
    }

    /// Answers the command that the session waited for, and goes on with its string.
    pub fn finish(&mut self, outcome: WaitOutcome) {
        let Some(console) = self.core.console_mut(self.id) else { return };
        let Some(PendingCommand { tag, since, script }) = console.pending.take() else { return };
        let after = self.core.mono().since(since);
        let refusal = match outcome {
            WaitOutcome::Done => None,
            WaitOutcome::Gone => Some(Refusal::Gone),
            WaitOutcome::ReloadFailed(first) => Some(Refusal::ReloadFailed(first.into())),
            WaitOutcome::Resumed => Some(Refusal::Resumed),
            WaitOutcome::TimedOut { holders, is_resumed } => {
                Some(Refusal::TimedOut { holders: holders.into(), is_resumed, after })
            }
        };
        match (refusal, script) {
            (None, None) => {
                self.may_wait = true;
                self.complete(tag);
            }
            (None, Some(script)) => {
                self.complete(tag);
                let rest = script.rest.clone();
                self.run(&rest, script);
            }
            (Some(refusal), None) => {
                self.may_wait = true;
                self.fail(&refusal);
            }
            (Some(refusal), Some(_)) => {
                self.refuse(&refusal);
                self.ready();
            }
        }
    }

    fn complete(&mut self, tag: Option<&str>) {
        if let Some(tag) = tag {
            build::command_complete(&mut self.out, tag);
        }
    }
}
