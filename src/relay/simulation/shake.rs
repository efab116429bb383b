//! TLS handshakes as a library makes them: both ends speak in turn, each time a number of bytes,
//! which travel in pieces and as far as there is room. The near end reads blocks: bytes that the
//! far end sends after its last part may come with that part, and stay inside. An end sends no data
//! before the handshake is done.

use std::io;

use super::stream::SimStream;
use crate::base::rng::Rng;

/// The first byte of a handshake record (RFC 8446, 5.1).
const RECORD: u8 = 0x16;

/// The bytes that the near end reads at once.
const BLOCK_BYTES: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Near,
    Far,
}

/// The fault of the far end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It closes the connection within a part.
    Ends,
    /// It breaks the connection within a part.
    Breaks,
    /// It stops within a part and waits.
    Stops,
    /// It sends bytes that the near end does not understand.
    Garbles,
    /// The near end refuses it, for example because of an unknown authority.
    Displeases,
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::Ends, Fault::Breaks, Fault::Stops, Fault::Garbles, Fault::Displeases];
}

/// The progress of an end: the present part, and how many of its bytes are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Before,
    In { part: usize, done: usize },
    Behind,
}

#[derive(Debug)]
pub struct Shake {
    /// The end that begins; after that both take turns.
    first: End,
    /// The length of each part, in bytes.
    lengths: Vec<usize>,
    near: Place,
    far: Place,
    /// The fault, which occurs in the far end's last part.
    fault: Option<Fault>,
    /// Bytes that the near end has read.
    inbox: Vec<u8>,
}

/// The state of the far end's handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Far {
    Pending,
    /// Both ends may send data.
    Done,
    /// The far end has made the handshake fail, or the near end has closed the connection.
    Over,
}

impl Shake {
    pub fn new(first: End, rng: &mut impl Rng) -> Shake {
        let lengths = (0..2 + rng.below(4)).map(|_| match rng.below(3) {
            0 => 1 + rng.below(20) as usize,
            1 => 1 + rng.below(600) as usize,
            _ => 1 + rng.below(6000) as usize,
        });
        let lengths = lengths.collect();
        let (near, far) = (Place::Before, Place::Before);
        Shake { first, lengths, near, far, fault: None, inbox: Vec::new() }
    }

    fn speaker(&self, part: usize) -> End {
        match (part.is_multiple_of(2), self.first) {
            (true, first) => first,
            (false, End::Near) => End::Far,
            (false, End::Far) => End::Near,
        }
    }

    /// The far end's fault, if it occurs in this part.
    fn fault_in(&self, part: usize) -> Option<Fault> {
        let is_last = part + 2 >= self.lengths.len();
        self.fault.filter(|_| is_last && self.speaker(part) == End::Far)
    }

    /// The progress after `done` bytes of a part.
    fn go_on(&self, part: usize, done: usize) -> Place {
        match (done < self.lengths[part], part + 1 < self.lengths.len()) {
            (true, _) => Place::In { part, done },
            (false, true) => Place::In { part: part + 1, done: 0 },
            (false, false) => Place::Behind,
        }
    }
}

const BEGINNING: Place = Place::In { part: 0, done: 0 };

impl SimStream {
    /// A stream on which a handshake may take place.
    pub fn securable(self, shake: Shake, keeps_back: bool) -> SimStream {
        let mut stream = self.veiled(keeps_back);
        stream.shake = Some(Box::new(shake));
        stream
    }

    pub fn far_misbehave(&mut self, fault: Option<Fault>) {
        if let Some(shake) = &mut self.shake {
            shake.fault = fault;
        }
    }

    /// Whether the near end has begun the handshake and not completed it.
    pub fn near_shakes(&self) -> bool {
        self.shake.as_ref().is_some_and(|shake| matches!(shake.near, Place::In { .. }))
    }

    /// Whether the data of the near end is under TLS.
    pub fn near_is_veiled(&self) -> bool {
        let is_secured = self.shake.as_ref().is_none_or(|shake| shake.near == Place::Behind);
        self.veil.is_some() && is_secured
    }

    pub fn far_is_veiled(&self) -> bool {
        let is_secured = self.shake.as_ref().is_none_or(|shake| shake.far == Place::Behind);
        self.veil.is_some() && is_secured
    }

    /// Begins TLS at the near end. `early` are bytes of the handshake that it has already read.
    pub fn near_begin(&mut self, early: &[u8]) -> bool {
        let Some(shake) = &mut self.shake else { return false };
        assert_eq!(shake.near, Place::Before, "it is under TLS already");
        shake.near = BEGINNING;
        shake.inbox = early.to_vec();
        true
    }

    /// The near end continues as far as it can. Returns whether its handshake is done.
    pub fn near_go_on(&mut self) -> Result<bool, &'static str> {
        let Some(mut shake) = self.shake.take() else { return Err("there is no TLS here") };
        let result = loop {
            let Place::In { part, done } = shake.near else { break Ok(()) };
            let step = match shake.speaker(part) {
                End::Near => self.near_speak(shake.lengths[part] - done),
                End::Far => self.near_hear(&mut shake, part),
            };
            match step {
                Ok(count) => shake.near = shake.go_on(part, done + count),
                Err(error) => break Err(error),
            }
        };
        if shake.near == Place::Behind {
            let inside = std::mem::take(&mut shake.inbox);
            self.veil.iter_mut().for_each(|veil| veil.inbound.receive(&inside));
        }
        let is_over = shake.near == Place::Behind && shake.far == Place::Behind;
        self.shake = (!is_over).then_some(shake);
        match result {
            Ok(()) => Ok(true),
            Err(Step::Waits) => Ok(false),
            Err(Step::Failed(why)) => Err(why),
        }
    }

    fn near_speak(&mut self, left: usize) -> Result<usize, Step> {
        match self.write_bare(&vec![RECORD; left]) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Step::Waits),
            Err(_) => Err(Step::Failed("it is broken")),
        }
    }

    /// Reads a part, which counts only once it is complete.
    fn near_hear(&mut self, shake: &mut Shake, part: usize) -> Result<usize, Step> {
        let length = shake.lengths[part];
        while shake.inbox.len() < length {
            let mut block = [0; BLOCK_BYTES];
            match self.read_bare(&mut block) {
                Ok(0) => return Err(Step::Failed("the connection was closed")),
                Ok(count) => shake.inbox.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Step::Waits),
                Err(_) => return Err(Step::Failed("it is broken")),
            }
        }
        let heard: Vec<u8> = shake.inbox.drain(..length).collect();
        let is_garbled = heard.iter().any(|byte| *byte != RECORD);
        match shake.fault_in(part) {
            _ if is_garbled => Err(Step::Failed("wrong version number")),
            Some(Fault::Garbles) => Err(Step::Failed("wrong version number")),
            Some(Fault::Displeases) => Err(Step::Failed("certificate verify failed")),
            Some(Fault::Ends | Fault::Breaks | Fault::Stops) | None => Ok(length),
        }
    }

    /// The far end continues as far as it can, from the beginning if need be.
    pub fn far_go_on(&mut self) -> Far {
        let Some(mut shake) = self.shake.take() else { return Far::Done };
        if shake.far == Place::Before {
            shake.far = BEGINNING;
        }
        let outcome = loop {
            let Place::In { part, done } = shake.far else { break Far::Done };
            let left = shake.lengths[part] - done;
            let count = match (shake.speaker(part), shake.fault_in(part)) {
                (End::Near, _) => self.outbound_taken(left),
                (End::Far, Some(Fault::Ends | Fault::Breaks | Fault::Stops)) => {
                    self.far_speak(left / 2);
                    break Far::Over;
                }
                (End::Far, _) => self.far_speak(left),
            };
            shake.far = shake.go_on(part, done + count);
            if count == 0 {
                break if self.is_closed { Far::Over } else { Far::Pending };
            }
        };
        let is_over = shake.near == Place::Behind && shake.far == Place::Behind;
        let fault = shake.fault.filter(|_| outcome == Far::Over);
        self.shake = (!is_over).then_some(shake);
        match fault {
            Some(Fault::Ends) => self.far_close(),
            Some(Fault::Breaks) => self.far_reset(),
            Some(Fault::Stops | Fault::Garbles | Fault::Displeases) | None => {}
        }
        outcome
    }

    fn far_speak(&mut self, count: usize) -> usize {
        let mut bytes = super::bytes::Bytes::default();
        bytes.push(&vec![RECORD; count]);
        self.far_send_bare(&mut bytes)
    }

    /// Takes at most `most` bytes of those that are here. Returns their number.
    fn outbound_taken(&mut self, most: usize) -> usize {
        self.far_read_bare(most).len()
    }
}

/// Why an end cannot continue.
enum Step {
    Waits,
    Failed(&'static str),
}
