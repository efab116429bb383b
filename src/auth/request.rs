//! The Authentication messages by which a client is asked for its proof.

/// An Authentication message ('R') for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRequest {
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    /// The mechanisms that the client may choose from.
    Sasl {
        with_binding: bool,
    },
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
}

impl AuthRequest {
    /// The code that follows the message's head, and its data (protocol, Message Formats).
    pub fn code_and_data(&self) -> (u32, &[u8]) {
        match self {
            AuthRequest::CleartextPassword => (3, b""),
            AuthRequest::Md5Password { salt } => (5, salt),
            AuthRequest::Sasl { with_binding: false } => (10, b"SCRAM-SHA-256\0\0"),
            AuthRequest::Sasl { with_binding: true } => {
                (10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
            }
            AuthRequest::SaslContinue(message) => (11, message),
            AuthRequest::SaslFinal(message) => (12, message),
        }
    }

    /// Code and data.
    #[cfg(test)]
    pub fn payload(&self) -> Vec<u8> {
        let (code, data) = self.code_and_data();
        [&code.to_be_bytes(), data].concat()
    }
}
