//! What is said to clients, and in how many writes.

use super::by_hand::core_of;
use super::world::HERE;
use crate::pool::core::Action;
use crate::pool::login::entry::Arrival;

#[test]
fn what_is_said_to_one_client_in_a_row_is_one_write() {
    let mut core = core_of("[pgbouncer]\n", 0);
    let arrival = || Arrival { peer: HERE, local: HERE, uid: None };
    let (one, other) = (core.client_arrived(arrival()), core.client_arrived(arrival()));
    for (id, bytes) in [(one, "a"), (one, "b"), (other, "c"), (one, "d")] {
        core.say(id, bytes.into());
    }
    let mut said = Vec::new();
    while let Some(action) = core.poll_action() {
        let Action::SendClient { client, bytes } = action else { continue };
        said.push((client, bytes));
    }
    assert_eq!(said, [(one, b"ab".to_vec()), (other, b"c".to_vec()), (one, b"d".to_vec())]);
}
