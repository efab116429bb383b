//! What a RELOAD makes of a user list.

use super::by_hand::core_of;
use crate::auth::secret::Secret;
use crate::auth::userlist;
use crate::config;
use crate::pool::core::Core;
use crate::pool::records::access::{Access, Users};

const LINE: &str = "[pgbouncer]\n[users]\nu2 = pool_size=1\n";

/// A RELOAD with the entries of a user list, or with one that is what it was.
fn reload(core: &mut Core, lines: &str, entries: &[(&str, &str)]) {
    let config = config::load_text("users.ini", lines).expect("a good file");
    let text = entries.iter().map(|(name, secret)| format!("\"{name}\" \"{secret}\"\n"));
    let text: String = text.collect();
    let access = match userlist::parse_changed(text.as_bytes(), &core.access().known) {
        None => Access::default(),
        Some(list) => {
            Access { users: Users::Listed(list.entries), known: list.known, ..Access::default() }
        }
    };
    core.adopt(config, access);
}

/// What is known of some users: secret, whether the files name them, and the last change.
fn known(core: &Core, names: &[&str]) -> Vec<(Option<Secret>, bool, u64)> {
    let user = |name: &&str| &core.users[core.directory.find_user(name).expect("a record")];
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
    for _ in 0..2 {
        reload(&mut core, LINE, &shuffled);
        assert_eq!(known(&core, &names), first, "of two entries the later counts");
    }
    reload(&mut core, LINE, &shuffled[..3]);
    assert_eq!(known(&core, &["u0"]), [(secret("x"), true, 4)], "the earlier is the only one");
    assert_eq!(known(&core, &["u1", "u2"]), first[1..]);
    reload(&mut core, LINE, &[("u1", "new"), ("u3", "secret")]);
    let expected = [(None, false, 5), (secret("new"), true, 5), (None, true, 5)];
    assert_eq!(known(&core, &names), expected, "u2 has a line");
    assert_eq!(known(&core, &["u3"]), [(secret("secret"), true, 5)]);
    reload(&mut core, "[pgbouncer]\n", &[("u1", "new"), ("u3", "secret")]);
    assert_eq!(known(&core, &["u1", "u2"]), [(secret("new"), true, 5), (None, false, 6)]);
    reload(&mut core, "[pgbouncer]\n", &[("u3", "secret")]);
    assert_eq!(known(&core, &["u1", "u3"]), [(None, false, 7), (secret("secret"), true, 5)]);
}
