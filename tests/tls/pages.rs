//! /metrics and the page under TLS, with the certificate that clients are shown.

use super::*;

use openssl::x509::X509;

/// What is answered over TLS, whose certificate is checked.
fn get(port: u16) -> Result<String, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
    connector.set_verify(SslVerifyMode::PEER);
    let authority = X509::from_pem(root().certificate().as_bytes()).expect("a certificate");
    connector.cert_store_mut().add_cert(authority).expect("room");
    let mut stream =
        connector.build().connect("localhost", stream).map_err(|error| error.to_string())?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}

fn watched(mode: &str) -> (Pooler, u16) {
    let port = host::free_port();
    let setup = offering(mode).set("metrics_listen_addr", "127.0.0.1").set("metrics_tls", "1");
    (setup.set("metrics_listen_port", &port.to_string()).start(), port)
}

#[test]
fn the_pages_are_served_over_tls_alone_where_that_is_asked_for() {
    let (_pooler, port) = watched("require");
    let answer = get(port).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\npgbouncer_up 1\n"));
    let mut plain = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    plain.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    plain.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
    let mut came = Vec::new();
    // Whether it is told by an alert or by the end: nothing is served.
    let _ = plain.read_to_end(&mut came);
    assert!(!String::from_utf8_lossy(&came).contains("HTTP"), "{came:?}");
}

#[test]
fn nobody_is_asked_for_a_certificate_there_whatever_clients_are_asked_for() {
    let (_pooler, port) = watched("verify-full");
    let answer = get(port).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
