//! What a client answers to a question of its login: the payloads of its 'p' messages, taken apart.

use super::failure::Failure;
use crate::crypto::scram_message::{BOUND_MECHANISM, Binding, MECHANISM};

/// The text of PasswordMessage. Bytes after its NUL are ignored, as PgBouncer does.
pub(super) fn password_of(payload: &[u8]) -> Result<&[u8], Failure> {
    let (text, _) = split_at_nul(payload).ok_or(Failure::BadPacket)?;
    if text.is_empty() { Err(Failure::EmptyPassword) } else { Ok(text) }
}

/// Takes SASLInitialResponse apart: what the chosen mechanism says of channel binding, and
/// client-first-message, which must fill the rest of the payload exactly.
pub(super) fn sasl_initial(payload: &[u8], is_offered: bool) -> Result<(Binding, &[u8]), Failure> {
    let (mechanism, rest) = split_at_nul(payload).ok_or(Failure::BadPacket)?;
    let binding = match (mechanism, is_offered) {
        (MECHANISM, true) => Binding::Declined,
        (MECHANISM, false) => Binding::Unavailable,
        (BOUND_MECHANISM, true) => Binding::Used,
        _ => return Err(Failure::Mechanism),
    };
    let (len, message) = rest.split_first_chunk::<4>().ok_or(Failure::BadPacket)?;
    if usize::try_from(i32::from_be_bytes(*len)) != Ok(message.len()) {
        return Err(Failure::BadPacket);
    }
    Ok((binding, message))
}

fn split_at_nul(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = payload.iter().position(|&byte| byte == 0)?;
    Some((&payload[..end], &payload[end + 1..]))
}
