//! A message that the server will refuse, under another name than the client has used.

#[derive(Debug)]
pub struct Misnamed {
    /// As the client has it.
    pub name: Box<[u8]>,
    /// As the server is told.
    pub stand_in: Box<[u8]>,
}
