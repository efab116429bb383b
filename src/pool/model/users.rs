//! What a RELOAD makes of a user list.

use super::by_hand::core_of;
use crate::auth::secret::Secret;
use crate::config;
use crate::pool::core::Core;
use crate::pool::records::access::{Access, Users};

const LINE: &str = "[pgbouncer]\n[users]\nu2 = pool_size=1\n";

fn list(entries: &[(&str, &str)]) -> Users {
    let entry =
        |(name, secret): &(&str, &str)| ((*name).to_owned(), Secret::parse(secret.as_bytes()));
    entries.iter().map(entry).collect()
}

fn reload(core: &mut Core, lines: &str, users: Users) {
    let config = config::load_text("users.ini", lines).expect("a good file");
    core.adopt(config, Access { users, ..Access::default() });
}

/// What is known of some users: secret, whether the files name them, and the last change.
fn known(core: &Core, names: &[&str]) -> Vec<(Option<Secret>, bool, u64)> {
    let user = |name: &&str| &core.users[core.find_user(name).expect("a record")];
    let shown = names.iter().map(user);
    shown.map(|user| (user.secret.clone(), user.is_listed(), user.changed_in)).collect()
}

#[test]
fn a_user_list_counts_in_any_order_and_changes_only_what_differs() {
    let mut core = core_of(LINE, 3);
    let secret = |text: &str| Some(Secret::parse(text.as_bytes()));
    let names = ["u0", "u1", "u2"];
    let first = known(&core, &names);
    assert_eq!(first, vec![(secret("secret"), true, 1); 3]);
    let shuffled = [("u2", "secret"), ("u0", "x"), ("u1", "secret"), ("u0", "secret")];
    reload(&mut core, LINE, list(&shuffled));
    assert_eq!(known(&core, &names), first, "of two entries the later counts");
    reload(&mut core, LINE, Users::AsBefore);
    assert_eq!(known(&core, &names), first);
    reload(&mut core, LINE, list(&[("u1", "new"), ("u3", "secret")]));
    let expected = [(None, false, 4), (secret("new"), true, 4), (None, true, 4)];
    assert_eq!(known(&core, &names), expected, "u2 has a line");
    assert_eq!(known(&core, &["u3"]), [(secret("secret"), true, 4)]);
    reload(&mut core, "[pgbouncer]\n", Users::AsBefore);
    assert_eq!(known(&core, &["u1", "u2"]), [(secret("new"), true, 4), (None, false, 5)]);
}
