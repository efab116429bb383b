//! The begin and the end of a COPY.

use super::{Copy, Replies, Unexpected};
use crate::pool::owed::bar::Bar;
use crate::pool::owed::request::Request;

impl Replies {
    pub(super) fn copy_ended(&mut self) {
        match &mut self.copy {
            Copy::In { ended } | Copy::Both { ended } if !*ended => *ended = true,
            // The server has nothing more to do and ignores the message.
            _ if self.queue.is_empty() => {}
            _ => self.push(Request::CopyEnd),
        }
    }

    /// A COPY begins. If the server takes data, its end may have been sent already. A COPY of one
    /// way skips the Syncs between the statement and that end.
    pub(super) fn begin_copy(
        &mut self,
        front: Option<Request>,
        copy: Copy,
    ) -> Result<(), Unexpected> {
        if !matches!(front, Some(Request::Query | Request::Execute)) {
            return Err(Unexpected);
        }
        self.copy = copy;
        self.eaten = 0;
        if self.takes_copy_data() {
            if self.bar == Bar::UntilAnswered && self.queue.len() == 1 {
                // The request that the bar waits for is this COPY, whose end must not be waited
                // for.
                self.bar = Bar::Open;
            }
            let skips_syncs = matches!(copy, Copy::In { .. });
            while skips_syncs && self.queue.get(1) == Some(&Request::Sync) {
                self.queue.remove(1);
                self.bar.sync_is_gone();
                self.eaten = self.eaten.saturating_add(1);
            }
            let is_ended = self.queue.iter().any(|request| request.ends_in_ready());
            self.unsynced |= !is_ended;
            if self.queue.get(1) == Some(&Request::CopyEnd) {
                self.queue.remove(1);
                self.copy_ended();
            }
        }
        Ok(())
    }

    /// Ends a COPY for which no more data will be sent. Returns whether CopyFail must be sent.
    pub fn end_copy_in(&mut self) -> bool {
        let must_send = self.copy == Copy::In { ended: false };
        if must_send {
            self.copy_ended();
        }
        must_send
    }
}
