//! The admin console.

use crate::pool::core::{ClientId, Core};
use crate::pool::pause::Outcome;

/// A message of a console session, whole.
pub fn message(_core: &mut Core, _id: ClientId, _kind: u8, _body: &[u8]) {}

/// A command that took time has ended.
pub fn finish(_core: &mut Core, _id: ClientId, _outcome: Outcome) {}
