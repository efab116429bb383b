//! Handshakes as a library of TLS has them: both ends speak in turn, so many bytes each time, which
//! travel as all others do, in pieces and as far as there is room. The near end reads blocks: what
//! the far end sends after its last part may come with it, and stays inside. What an end was asked
//! to say before the handshake is done it does not take.

use std::io;

use super::stream::SimStream;
use crate::base::rng::Rng;

/// Of a handshake's record (RFC 8446, 5.1).
const RECORD: u8 = 0x16;

/// What the near end reads at once.
const BLOCK: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Near,
    Far,
}

/// What the far end does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It closes the connection within a part.
    Ends,
    /// It breaks the connection within a part.
    Breaks,
    /// It stops within a part, and waits.
    Stops,
    /// It says what the near end does not understand.
    Garbles,
    /// Nothing, but the near end will have none of it: an unknown authority, say.
    Displeases,
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::Ends, Fault::Breaks, Fault::Stops, Fault::Garbles, Fault::Displeases];
}

/// How far an end has come: through so many parts, and so many bytes of the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Before,
    In { part: usize, done: usize },
    Behind,
}

#[derive(Debug)]
pub struct Shake {
    /// Who begins; the ends take turns.
    first: End,
    /// How many bytes each part has.
    lengths: Vec<usize>,
    near: Place,
    far: Place,
    /// In the last part of the far end's.
    fault: Option<Fault>,
    /// Read by the near end.
    inbox: Vec<u8>,
}

/// What has become of the far end's handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Far {
    Pending,
    /// Both ends may say what they have to say.
    Done,
    /// The far end has seen to it that it comes to nothing, or the near end has closed.
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

    /// The far end's fault, if this is the part in which it comes about.
    fn fault_in(&self, part: usize) -> Option<Fault> {
        let is_last = part + 2 >= self.lengths.len();
        self.fault.filter(|_| is_last && self.speaker(part) == End::Far)
    }

    /// Goes on after so many bytes of a part.
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
    /// It may be put under TLS.
    pub fn securable(self, shake: Shake) -> SimStream {
        let mut stream = self.veiled();
        stream.shake = Some(Box::new(shake));
        stream
    }

    pub fn far_misbehave(&mut self, fault: Option<Fault>) {
        if let Some(shake) = &mut self.shake {
            shake.fault = fault;
        }
    }

    /// Whether the near end has begun, and is not done.
    pub fn near_shakes(&self) -> bool {
        self.shake.as_ref().is_some_and(|shake| matches!(shake.near, Place::In { .. }))
    }

    /// Whether what the near end says and hears is under TLS.
    pub fn near_is_veiled(&self) -> bool {
        let is_secured = self.shake.as_ref().is_none_or(|shake| shake.near == Place::Behind);
        self.veil.is_some() && is_secured
    }

    pub fn far_is_veiled(&self) -> bool {
        let is_secured = self.shake.as_ref().is_none_or(|shake| shake.far == Place::Behind);
        self.veil.is_some() && is_secured
    }

    /// Puts the near end under TLS. `early` is what it has read of the handshake already.
    pub fn near_begin(&mut self, early: &[u8]) -> bool {
        let Some(shake) = &mut self.shake else { return false };
        assert_eq!(shake.near, Place::Before, "it is under TLS already");
        shake.near = BEGINNING;
        shake.inbox = early.to_vec();
        true
    }

    /// The near end goes on as far as it can. Returns whether it is done.
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

    /// Nothing is made of a part before all of it is there.
    fn near_hear(&mut self, shake: &mut Shake, part: usize) -> Result<usize, Step> {
        let length = shake.lengths[part];
        while shake.inbox.len() < length {
            let mut block = [0; BLOCK];
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

    /// The far end goes on as far as it can, from the beginning if need be.
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

    /// Reads what is there of so many bytes.
    fn outbound_taken(&mut self, most: usize) -> usize {
        self.far_read_bare(most).len()
    }
}

/// Why an end does not go on.
enum Step {
    Waits,
    Failed(&'static str),
}
