//! Logins that an LDAP directory judges (RFC 4511): the options that say where it is and how a user
//! is found in it, and the conversation with it.
//!
//! There are two forms, as in PostgreSQL: the name of the user's entry is composed of prefix, user
//! and suffix, or the entry is searched for by an attribute or a filter. In both forms a bind with
//! the client's password decides. Nothing here opens a connection: [`Dialogue`] takes messages and
//! gives messages.

mod ber;
mod dialogue;
mod filter;
mod message;
mod options;
mod url;

pub use dialogue::{Dialogue, Next};
pub use options::{Cover, Directory, OptionError};

/// The length of the message that `bytes` begin with, once that is known; an error where no
/// message of a directory begins so.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, MalformedLdap> {
    message::frame(bytes)
}

/// Bytes that are no LDAP message, or a message that may not come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedLdap;

/// Entry point for fuzzing: options up to the first NUL, and what a directory sends after it. The
/// directory does not know the password, but may send anything.
pub fn fuzz(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let (options, mut rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(directory) = Directory::parse(options) else { return };
    let password = crate::auth::secret::Password::new(b"secret");
    let mut dialogue = Dialogue::new(&directory, "joe", &password);
    let mut next = dialogue.begin("host");
    loop {
        match next {
            Next::Send(bytes) => {
                let whole = frame(&bytes).expect("what is sent is a message");
                assert_eq!(whole, Some(bytes.len()), "whole, and nothing behind it");
            }
            Next::Secure => {
                next = dialogue.secured();
                continue;
            }
            Next::Read => {}
            Next::Done(_) => return,
        }
        let Ok(Some(len)) = frame(rest) else { return };
        let Some((message, behind)) = rest.split_at_checked(len) else { return };
        rest = behind;
        next = dialogue.received(message);
    }
}
