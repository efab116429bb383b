//! A message that the server will refuse, under another name than the client has used.

#[derive(Debug)]
pub struct Misnamed {
    /// As the client has it.
    pub name: Box<[u8]>,
    /// As the server is told.
    pub stand_in: Box<[u8]>,
    /// The message that the client gets in place of the server's error, if it is another.
    pub told: Option<Box<[u8]>>,
}
