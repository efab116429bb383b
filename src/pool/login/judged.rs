//! Logins that an LDAP directory or PAM judges. A few questions are out at a time, and the other
//! logins wait in order; no other connection waits for them.

use crate::auth::client::Identity;
use crate::auth::inquiry::{Inquiry, Judgement};
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, Core};
use crate::pool::ids::ClientId;
use crate::pool::records::client::Progress;
use crate::pool::records::inquiries::{QUESTIONS_OUT_MAX, Question};
use crate::pool::telling::reason::Reason;

impl Core {
    /// Sends waiting questions, as many as may be out at a time.
    pub fn send_inquiries(&mut self) {
        while self.inquiries.out < QUESTIONS_OUT_MAX {
            let Some(client) = self.inquiries.waiting.pop_front() else { return };
            let Some(inquiry) = self.inquiry_of(client) else { continue };
            self.inquiries.out += 1;
            self.act(Action::Inquire { client, inquiry: Box::new(inquiry) });
        }
    }

    /// The question about a client, if the client still waits for its answer.
    fn inquiry_of(&mut self, id: ClientId) -> Option<Inquiry> {
        let client = self.clients.get_mut(id)?;
        let address = match client.peer {
            PeerAddress::Tcp { ip, .. } => Some(ip),
            PeerAddress::Unix { .. } => None,
        };
        let login = client.login_mut()?;
        let user = login.names.as_ref()?.user.clone();
        let Progress::Judged(question) = &mut login.progress else { return None };
        question.is_sent = true;
        let (judge, password) = (question.judge.clone(), question.password.clone());
        Some(Inquiry { judge, user, password, address })
    }

    /// The answer to a question, whether its client is still there or not.
    pub fn judged(&mut self, id: ClientId, verdict: Judgement) {
        self.inquiries.out -= 1;
        if let Some(login) = self.login_mut(id)
            && matches!(&login.progress, Progress::Judged(question) if question.is_sent)
            && let Progress::Judged(question) = std::mem::take(&mut login.progress)
        {
            match self.heed_judge(id, *question, verdict) {
                Ok(()) => self.wake(id),
                Err(reason) => self.close_client(id, reason),
            }
        }
    }

    fn heed_judge(
        &mut self,
        id: ClientId,
        question: Question,
        verdict: Judgement,
    ) -> Result<(), Reason> {
        let Question { judge, password, .. } = question;
        match verdict {
            Ok(()) => self.admit(id, Identity { scram_keys: None, password: Some(password) }),
            Err(fault) => {
                self.log_client(Level::Warning, id, format_args!("{fault}"));
                Err(Reason::AuthRefused(judge.refusal().into()))
            }
        }
    }
}
