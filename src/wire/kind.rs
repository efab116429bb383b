//! The one table of message kinds: byte, side, name, largest accepted body; and for messages of
//! servers, how much of the body must be here before they are judged. For messages of clients that
//! depends on what the client is doing, so their judges decide it.
//!
//! A kind that is not in the table is an error on either side: the pooler cannot safely relay a
//! message that it does not understand, since the message may change the state of the other end.

use super::head::{HEAD_BYTES, Head};

/// The largest body that the protocol allows.
pub const BODY_BYTES_MAX: usize = i32::MAX as usize - 4;

/// The largest body that [`See::WholeIfSmall`] reads, in bytes.
const SMALL_BODY_BYTES: usize = 4096;

/// How much of a message's body the judge needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum See {
    /// The head alone.
    Head,
    /// This many bytes, or all of a shorter body.
    First(usize),
    /// The whole body; the largest size of the kind bounds what is kept.
    Whole,
    /// The whole body if it is small, otherwise nothing: the judge treats a large one as opaque.
    WholeIfSmall,
}

/// Declares an enum of message kinds. A row is `Name = byte, largest body;`, or with what the judge
/// needs: `Name = byte, largest body, See;`
macro_rules! kinds {
    ($(#[$doc:meta])* $enum:ident: $($name:ident = $byte:literal, $max:expr, $see:expr;)*) => {
        kinds! { $(#[$doc])* $enum: $($name = $byte, $max;)* }

        impl $enum {
            /// How many bytes of the body the judge needs.
            #[inline(always)]
            pub fn must_see(self, head: Head) -> usize {
                let see = match self { $($enum::$name => $see,)* };
                match see {
                    See::Head => 0,
                    See::First(n) => n.min(head.body),
                    See::Whole => head.body,
                    See::WholeIfSmall => if head.body <= SMALL_BODY_BYTES { head.body } else { 0 },
                }
            }
        }
    };
    ($(#[$doc:meta])* $enum:ident: $($name:ident = $byte:literal, $max:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $enum { $($name = $byte,)* }

        impl $enum {
            /// Two tables that are used for every message: a look-up takes fewer steps than a
            /// match.
            const BY_BYTE: [Option<$enum>; 256] = {
                let mut kinds = [None; 256];
                $(kinds[$byte as usize] = Some($enum::$name);)*
                kinds
            };

            const LARGEST: [u32; 256] = {
                let mut largest = [0; 256];
                $(largest[$byte as usize] = $max as u32;)*
                largest
            };

            #[inline(always)]
            pub fn from_byte(byte: u8) -> Option<$enum> {
                static BY_BYTE: [Option<$enum>; 256] = $enum::BY_BYTE;
                BY_BYTE[usize::from(byte)]
            }

            /// The largest body of this kind, in bytes.
            #[inline(always)]
            pub fn largest(self) -> usize {
                static LARGEST: [u32; 256] = $enum::LARGEST;
                LARGEST[usize::from(self as u8)] as usize
            }

            /// Every kind, for tests that walk the table.
            #[cfg(test)]
            pub const ALL: &'static [$enum] = &[$($enum::$name,)*];
        }
    };
}

kinds! {
    /// Messages of a client after its startup packet.
    Front:
    Bind = b'B', BODY_BYTES_MAX;
    Close = b'C', 70_000;
    CopyData = b'd', BODY_BYTES_MAX;
    CopyDone = b'c', 0;
    CopyFail = b'f', BODY_BYTES_MAX;
    Describe = b'D', 70_000;
    Execute = b'E', 70_000;
    Flush = b'H', 0;
    FunctionCall = b'F', BODY_BYTES_MAX;
    Parse = b'P', BODY_BYTES_MAX;
    Password = b'p', 65_540;
    Query = b'Q', BODY_BYTES_MAX;
    Sync = b'S', 0;
    Terminate = b'X', 4096;
}

kinds! {
    /// Messages of a server.
    Back:
    Authentication = b'R', 65_540, See::Whole;
    BackendKeyData = b'K', 260, See::Whole;
    BindComplete = b'2', 0, See::Head;
    CloseComplete = b'3', 0, See::Head;
    CommandComplete = b'C', 65_540, See::WholeIfSmall;
    CopyBoth = b'W', 70_000, See::Head;
    CopyData = b'd', BODY_BYTES_MAX, See::Head;
    CopyDone = b'c', 0, See::Head;
    CopyIn = b'G', 70_000, See::Head;
    CopyOut = b'H', 70_000, See::Head;
    DataRow = b'D', BODY_BYTES_MAX, See::Head;
    EmptyQuery = b'I', 0, See::Head;
    ErrorResponse = b'E', BODY_BYTES_MAX, See::First(8192);
    FunctionCallResponse = b'V', BODY_BYTES_MAX, See::Head;
    NegotiateProtocolVersion = b'v', 65_540, See::Whole;
    NoData = b'n', 0, See::Head;
    NoticeResponse = b'N', BODY_BYTES_MAX, See::First(8192);
    NotificationResponse = b'A', 65_540, See::Whole;
    ParameterDescription = b't', 300_000, See::WholeIfSmall;
    ParameterStatus = b'S', 65_540, See::Whole;
    ParseComplete = b'1', 0, See::Head;
    PortalSuspended = b's', 0, See::Head;
    ReadyForQuery = b'Z', 1, See::Whole;
    RowDescription = b'T', BODY_BYTES_MAX, See::Head;
}

impl Front {
    /// Whether it may prepare, use or drop a statement, even the unnamed one.
    #[inline(always)]
    pub fn concerns_statements(self) -> bool {
        matches!(self, Front::Bind | Front::Close | Front::Describe | Front::Parse | Front::Query)
    }
}

impl Back {
    /// What follows a message of this kind without a body at the start of `bytes`, if one is there.
    #[inline(always)]
    pub fn behind_empty(self, bytes: &[u8]) -> Option<&[u8]> {
        let (head, behind) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        (head[0] == self as u8 && length == 4).then_some(behind)
    }

    /// Whether a server may send it at any time, unsolicited.
    #[inline(always)]
    pub fn is_news(self) -> bool {
        matches!(self, Back::NoticeResponse | Back::NotificationResponse | Back::ParameterStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_finds_its_own_kind() {
        for &kind in Front::ALL {
            assert_eq!(Front::from_byte(kind as u8), Some(kind));
        }
        for &kind in Back::ALL {
            assert_eq!(Back::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Front::from_byte(0), None);
        assert_eq!(Back::from_byte(b'x'), None);
    }

    #[test]
    fn a_message_without_a_body_is_told_from_all_others() {
        let kind = Back::BindComplete;
        assert_eq!(kind.behind_empty(b"2\0\0\0\x04rest"), Some(&b"rest"[..]));
        for other in [&b"2\0\0\0"[..], b"1\0\0\0\x04", b"2\0\0\0\x05x", b"2\x04\0\0\x04"] {
            assert_eq!(kind.behind_empty(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_must_be_seen_whole_has_a_bound() {
        for &kind in Back::ALL {
            let see = kind.must_see(Head { kind: kind as u8, body: BODY_BYTES_MAX });
            assert!(see < BODY_BYTES_MAX || kind.largest() < 100_000, "{kind:?}");
        }
    }
}
