//! Who may log in becomes what the files say: the lines of `[users]`, and the user list.
//!
//! A user list may have tens of thousands of lines of which one is new: what is done for each of
//! the others is to find its record, beside the one before, and to compare.

use crate::auth::known::Known;
use crate::auth::secret::Secret;
use crate::auth::userlist::UserListEntry;
use crate::pool::core::Core;
use crate::pool::ids::UserId;
use crate::pool::records::access::{Access, Users};
use crate::pool::records::user::User;

impl Core {
    pub(super) fn adopt_users(&mut self, access: &mut Access) {
        let mut named_before = self.adopt_user_lines();
        match std::mem::take(&mut access.users) {
            Users::AsBefore => access.known = std::mem::take(&mut self.access.known),
            Users::Listed(list) => {
                named_before.extend(self.adopt_userlist(list, &mut access.known));
            }
        }
        for id in named_before {
            let user = &mut self.users[id];
            if !user.is_listed() {
                user.changed_in = self.generation;
            }
        }
    }

    /// The lines of `[users]`. Tells which users had one before.
    fn adopt_user_lines(&mut self) -> Vec<UserId> {
        let lines = self.users.iter().filter(|(_, user)| user.line.is_some());
        let had_line: Vec<UserId> = lines.map(|(id, _)| id).collect();
        for id in &had_line {
            self.users[*id].line = None;
        }
        for line in self.config.users.clone() {
            let id = self.registrar().ensure_user(&line.name);
            self.users[id].line = Some(line);
        }
        had_line
    }

    /// Tells which users the list does not name any more.
    fn adopt_userlist(&mut self, list: Vec<UserListEntry>, known: &mut Known) -> Vec<UserId> {
        let before = std::mem::take(&mut self.listed);
        // Most lists have the order of the list before, and so of the records.
        let mut place = 0;
        let mut secrets = Vec::new();
        for entry in list {
            let id = match entry {
                UserListEntry::Same(place) => before[place],
                UserListEntry::New { name, secret } => {
                    let next = self.users.id_at(place);
                    let next = next.filter(|id| *self.users[*id].name == *name);
                    secrets.push((self.listed.len(), secret));
                    next.unwrap_or_else(|| self.registrar().ensure_user(&name))
                }
            };
            place = id.index() + 1;
            self.listed.push(id);
        }
        for place in (0..self.listed.len()).rev() {
            let id = self.listed[place];
            let secret = secrets.pop_if(|(at, _)| *at == place);
            let listed_in = std::mem::replace(&mut self.users[id].listed_in, self.generation);
            if listed_in == self.generation {
                // Of two entries with one name the later counts. This one is read anew when the
                // later one has gone.
                known.forget(place);
            } else if let Some((_, secret)) = secret {
                self.set_secret(id, Some(secret));
            }
        }
        let is_gone = |user: &User| user.listed_in != 0 && user.listed_in != self.generation;
        let gone = self.users.iter().filter(|(_, user)| is_gone(user));
        let gone: Vec<UserId> = gone.map(|(id, _)| id).collect();
        for id in &gone {
            self.users[*id].listed_in = 0;
            self.set_secret(*id, None);
        }
        gone
    }

    /// With another secret a server may let in whom it has refused.
    fn set_secret(&mut self, id: UserId, secret: Option<Secret>) {
        let user = &mut self.users[id];
        if user.secret == secret {
            return;
        }
        user.secret = secret;
        user.keys = None;
        user.changed_in = self.generation;
        for pool in &user.pools {
            self.pools[*pool].refusal = None;
        }
    }
}
