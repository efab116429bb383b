//! Plays a program to a server and takes down what it answers.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::Step;
use crate::support::postgres::TRUSTED;
use crate::support::{Client, Message, PATIENCE, Rng, wire};

/// How long nothing must come for a pause to be over.
const QUIET: Duration = Duration::from_millis(4);
/// Between the pieces of a write that is cut up, so that they come as reads of their own.
const BETWEEN: Duration = Duration::from_micros(500);
/// What ends every program, whatever it has begun.
const END: &str = "select 'the end of the program'";

/// How the bytes are cut up.
pub type Cuts = Option<u64>;

/// The end of a connection that was to go on, as a message that no server sends.
const LOST: u8 = b'!';

/// Every message that the server at `port` answers to the program, in order.
pub fn play(port: u16, steps: &[Step], cuts: Cuts) -> Vec<Message> {
    let client = Client::login(port, TRUSTED.name, TRUSTED.password, "app");
    let mut stream = client.wire.stream;
    let answers = listen(&stream);
    let mut heard = Vec::new();
    let mut pieces = cuts.map(Rng::new);
    for chunk in chunks(steps) {
        send(&mut stream, &chunk, &mut pieces);
        while let Ok(bytes) = answers.recv_timeout(QUIET) {
            heard.extend(bytes);
        }
    }
    let is_lost = hear_the_end(&answers, &mut heard);
    let _ = stream.write_all(&wire::message(b'X', &[]));
    let _ = stream.shutdown(Shutdown::Both);
    let mut messages = split(&heard);
    messages.extend(is_lost.map(|why| Message { kind: LOST, body: why.into() }));
    messages
}

/// What is written in one go: all up to a pause, and at last what ends whatever is under way.
fn chunks(steps: &[Step]) -> Vec<Vec<u8>> {
    let parts = steps.split(|step| step.bytes.is_empty());
    let mut chunks: Vec<Vec<u8>> =
        parts.map(|part| part.iter().flat_map(|step| step.bytes.clone()).collect()).collect();
    chunks.retain(|chunk| !chunk.is_empty());
    let end =
        [wire::message(b'f', b"end\0"), wire::sync(), wire::query("rollback"), wire::query(END)];
    chunks.push(end.concat());
    chunks
}

fn send(stream: &mut (impl Write + ?Sized), chunk: &[u8], pieces: &mut Option<Rng>) {
    let Some(rng) = pieces else {
        let _ = stream.write_all(chunk);
        return;
    };
    let mut at = 0;
    while at < chunk.len() {
        let end = (at + 1 + rng.below(chunk.len())).min(chunk.len());
        let _ = stream.write_all(&chunk[at..end]);
        thread::sleep(BETWEEN);
        at = end;
    }
}

/// Reads beside the writing, so that neither side ever waits for the other to read.
fn listen(stream: &std::net::TcpStream) -> Receiver<Vec<u8>> {
    let mut stream = stream.try_clone().expect("a socket that is open");
    stream.set_read_timeout(None).expect("a socket that is open");
    let (tell, answers) = mpsc::channel();
    thread::spawn(move || {
        let mut block = [0; 65_536];
        while let Ok(count @ 1..) = stream.read(&mut block) {
            if tell.send(block[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    answers
}

/// Takes what still comes; gives why it ends before its end.
fn hear_the_end(answers: &Receiver<Vec<u8>>, heard: &mut Vec<u8>) -> Option<&'static str> {
    let last = Instant::now() + PATIENCE;
    let text = END.trim_start_matches("select '").trim_end_matches('\'').as_bytes();
    let ready = wire::ready(b'I');
    loop {
        let from = heard.len().saturating_sub(200);
        let is_there = heard[from..].windows(text.len()).any(|window| window == text);
        if is_there && heard.ends_with(&ready) {
            return None;
        }
        match answers.recv_timeout(last.saturating_duration_since(Instant::now())) {
            Ok(bytes) => heard.extend(bytes),
            Err(mpsc::RecvTimeoutError::Timeout) => return Some("silent"),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Some("closed"),
        }
    }
}

fn split(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((body, rest)) = rest.split_at_checked(length.saturating_sub(4)) else { break };
        messages.push(Message { kind: head[0], body: body.to_vec() });
        bytes = rest;
    }
    if !bytes.is_empty() {
        messages.push(Message { kind: LOST, body: bytes.to_vec() });
    }
    messages
}
