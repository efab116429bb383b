//! What of the library its crate does not offer, and a test needs.

#![allow(unsafe_code, reason = "the crate cannot ask for new keys")]

use std::ffi::{c_int, c_void};
use std::net::TcpStream;

use openssl::ssl::SslStream;

unsafe extern "C" {
    fn SSL_key_update(ssl: *mut c_void, kind: c_int) -> c_int;
}

/// Both ends change their keys (openssl/ssl.h, SSL_KEY_UPDATE_REQUESTED); the next write says so.
pub fn update(stream: &SslStream<TcpStream>) {
    let ssl = std::ptr::from_ref(stream.ssl()).cast_mut().cast();
    // SAFETY: the crate's reference is the library's pointer, and the session lives.
    let is_done = unsafe { SSL_key_update(ssl, 1) };
    assert_eq!(is_done, 1, "the keys are changed");
}
