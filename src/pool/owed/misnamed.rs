//! A message that the server will refuse, sent under another name than the client's.

#[derive(Debug)]
pub struct Misnamed {
    /// The name as the client sent it.
    pub name: Box<[u8]>,
    /// The name that the server is sent in its place.
    pub stand_in: Box<[u8]>,
    /// The message that the client gets instead of the server's error, if there is one.
    pub told: Option<Box<[u8]>>,
}
