//! Cancel requests: to a server of this process, or on to the peer whose client they concern.

pub mod peer;
pub mod request;
