//! What goes wrong, and what follows from it: which ends of a client it explains.

use super::client::Character;
use super::program::{Profile, Program};
use super::world::{World, client_stream};
use crate::base::rng::Rng;
use crate::wire::fields::Report;

impl World {
    /// Lets go wrong what the weather brings.
    pub(super) fn go_wrong(&mut self) {
        let weather = self.setup.weather;
        if self.strikes(weather.vanishing) {
            self.let_one_vanish();
        }
        if self.strikes(weather.cancels) {
            self.cancel_one();
        }
        if self.strikes(weather.chatter) {
            let at = self.rng.below(self.backends.len() as u64) as usize;
            if let Some(backend) = self.backends.values_mut().nth(at) {
                backend.chatter();
            }
        }
    }

    fn strikes(&mut self, often: u64) -> bool {
        often > 0 && self.rng.one_in(often)
    }

    fn some_client(&mut self) -> Option<usize> {
        let here = self.clients.len() as u64;
        let at = self.rng.below(here) as usize;
        self.clients.get(at).is_some_and(|client| !client.is_over()).then_some(at)
    }

    fn let_one_vanish(&mut self) {
        let Some(at) = self.some_client() else { return };
        let half = self.rng.one_in(4);
        let client = &mut self.clients[at];
        let (index, id) = (client.index, client.id);
        let stream = client_stream(&mut self.engine, client.id, client.number);
        match stream {
            Some(stream) if half => client.half_close(stream),
            stream => {
                client.vanish(stream);
                self.figures.vanished += 1;
            }
        }
        self.note(|| format!("client {index} {id:?} goes away, half {half}"));
    }

    /// Sends a cancel request: for somebody, or with a key that is wrong.
    fn cancel_one(&mut self) {
        let Some(at) = self.some_client() else { return };
        let target = &mut self.clients[at];
        if !target.is_working() {
            return;
        }
        let mut key = target.key.clone();
        let is_wrong = self.rng.one_in(8);
        match is_wrong {
            true => key[7] ^= 1,
            false => target.shadow.cancels += 1,
        }
        let index = target.index;
        self.figures.cancels += 1;
        self.note(|| format!("a cancel request comes for client {index}, wrong {is_wrong}"));
        let character = Character {
            asks_ssl: false,
            startup: Vec::new(),
            ..self.clients[at].character.clone()
        };
        let profile =
            Profile { names: false, blocks: false, resets: false, rogue: false, big: false };
        let program = Program::new(self.made, profile, self.fork());
        let index = self.made;
        self.made += 1;
        self.connect_client(index, character, program, Some(&key));
    }

    /// Why a client may be told this and closed, if so.
    pub(super) fn judge_words(&mut self, at: usize, report: &Report) -> Option<()> {
        let index = self.clients[at].index;
        self.judge_reason(index, &report.message)
    }

    /// Why a client may be closed for this reason, if so.
    fn judge_reason(&mut self, index: usize, words: &str) -> Option<()> {
        let client = self.clients.iter_mut().find(|client| client.index == index)?;
        // The last words of a session that has ended itself may be lost with its connection.
        let has_ended = words == "server conn crashed?" && client.shadow.foresees_end();
        (has_ended || client.shadow.foresees(words)).then_some(())
    }

    /// Why a client may be cut off without a word, if so: what it was to be told had no room, or
    /// would have been taken for the rest of a message.
    pub(super) fn judge_eof(&mut self, at: usize) -> Option<()> {
        let client = &self.clients[at];
        let (index, is_cut) = (client.index, client.has_half_a_message());
        let stream = client_stream(&mut self.engine, client.id, client.number)?;
        if !is_cut && !stream.is_cut_short {
            return None;
        }
        let words = self.reasons.get(&index)?.clone();
        self.judge_reason(index, &words)
    }
}
