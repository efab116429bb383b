//! How long others wait for handshakes: for two steps of them in each turn of the loop, however
//! many clients want one. Steps are counted, by what the console tells: their time depends on what
//! else the machine has to do.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

use super::hostile::agreed;
use super::support::client::Client;
use super::support::{Pooler, eventually, host, wire};
use super::{offering, secured};

/// Steps of handshakes in one turn.
const STEPS: u64 = 2;

/// How many want one at once: far more, and fewer than the events that one look at the poll takes.
const CLIENTS: usize = 60;

/// A stream whose first write goes out, and whose others wait.
struct FirstOnly {
    stream: TcpStream,
    has_written: bool,
    waiting: Vec<u8>,
}

impl Read for FirstOnly {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for FirstOnly {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.has_written, true) {
            return self.stream.write(from);
        }
        self.waiting.extend_from_slice(from);
        Ok(from.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client whose handshake is done but for its last word, which waits in the stream.
fn almost_secured(pooler: &Pooler) -> SslStream<FirstOnly> {
    let stream = FirstOnly { stream: agreed(pooler), has_written: false, waiting: Vec::new() };
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
    connector.set_verify(SslVerifyMode::NONE);
    let connect = connector.build().configure().expect("a context").verify_hostname(false);
    connect.connect("localhost", stream).ok().expect("all but done")
}

/// Asks for the handshakes that have ended.
fn ask(console: &mut Client) {
    console.wire.send(&wire::query("SHOW TLS"));
}

/// Handshakes with clients that were completed or have failed, as the console answers.
fn told(console: &mut Client) -> u64 {
    let answer = console.answer().expect("an answer");
    let row = answer.rows.iter().find(|row| row[0].as_deref() == Some("client"));
    let row = row.expect("a context of clients");
    let number = |name: &str| {
        let at = answer.columns.iter().position(|column| column == name)?;
        row[at].as_deref()?.parse::<u64>().ok()
    };
    number("handshakes").expect("a number") + number("failures").expect("a number")
}

fn handshakes(console: &mut Client) -> u64 {
    ask(console);
    told(console)
}

/// Waits until the pooler is in a state of `/proc/PID/stat`: S for asleep, T for stopped.
fn wait_for_state(pooler: &Pooler, state: char) {
    let state = format!(") {state} ");
    eventually("another state of the process", || {
        host::proc_file(pooler.pid, "stat").contains(&state).then_some(())
    });
}

/// What `send` sends lies before the pooler when it looks, and behind all of it a question of the
/// console. Returns how many handshakes have ended when that is answered. The pooler is stopped
/// between two turns, which is where it sleeps: the rest of a turn would take steps of its own.
fn ended_before_an_answer(pooler: &Pooler, console: &mut Client, send: impl FnOnce()) -> u64 {
    let before = handshakes(console);
    wait_for_state(pooler, 'S');
    pooler.signal("STOP");
    wait_for_state(pooler, 'T');
    send();
    ask(console);
    pooler.signal("CONT");
    told(console) - before
}

#[test]
fn a_turn_takes_two_steps_of_handshakes_before_it_serves_the_others() {
    let pooler = offering("prefer").set("max_client_conn", "500").start();
    let mut console = pooler.console();
    drop(secured(&pooler));

    let mut ending: Vec<_> = (0..CLIENTS).map(|_| almost_secured(&pooler)).collect();
    let told = ended_before_an_answer(&pooler, &mut console, || {
        for client in &mut ending {
            let FirstOnly { stream, waiting, .. } = client.get_mut();
            stream.write_all(waiting).expect("sent");
        }
    });
    assert!(told <= STEPS, "{told} handshakes were ended before others had their turn");
    let all = 1 + CLIENTS as u64;
    eventually("all to end", || (handshakes(&mut console) == all).then_some(()));

    // The first step of each ends it, too: what it reads is no handshake.
    let mut beginning: Vec<_> = (0..CLIENTS).map(|_| agreed(&pooler)).collect();
    let told = ended_before_an_answer(&pooler, &mut console, || {
        for stream in &mut beginning {
            stream.write_all(b"\x16\x03\x01\0\x05\x01\0\0\x01\0").expect("sent");
        }
    });
    assert!(told <= STEPS, "{told} handshakes were begun before others had their turn");
    let all = all + CLIENTS as u64;
    eventually("all to fail", || (handshakes(&mut console) == all).then_some(()));
}
