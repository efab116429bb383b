//! Calls of OpenSSL that its crate does not offer.

use std::ptr;

use libc::{c_int, c_long};
use openssl::ssl::SslContextBuilder;

/// The command of SSL_CTX_ctrl(3) that bounds the records that are sent (openssl/ssl.h).
const SET_MAX_SEND_FRAGMENT: c_int = 52;

/// Bounds the records that are sent, in bytes.
pub fn bound_records(context: &mut SslContextBuilder, bytes: u16) {
    // SAFETY: the context lives, and the command takes a number and no pointer.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(
            context.as_ptr(),
            SET_MAX_SEND_FRAGMENT,
            c_long::from(bytes),
            ptr::null_mut(),
        );
    }
}

/// Lets the library choose parameters for Diffie-Hellman, as strong as the key of the certificate.
pub fn choose_dh(context: &mut SslContextBuilder) {
    // SAFETY: the context lives, and the command takes a number and no pointer.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(
            context.as_ptr(),
            openssl_sys::SSL_CTRL_SET_DH_AUTO,
            1,
            ptr::null_mut(),
        );
    }
}
