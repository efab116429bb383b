//! One place that lines go to: a line that was taken in part is ended before the next one, and
//! lines that were not taken at all are counted.

use std::io;

/// Writes what is taken at once.
type Write<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<usize>;

#[derive(Default)]
pub(super) struct Sink {
    /// What the place has not taken yet of a line that it took in part.
    rest: Vec<u8>,
    /// Lines that the place did not take, and whose number has not been written there yet.
    pub lost: u64,
}

impl Sink {
    /// Gives a line to the place. False if the place takes none of it, which is counted.
    pub fn put(&mut self, line: &[u8], write: Write<'_>) -> bool {
        let rest = push(&self.rest, write);
        self.rest.drain(..rest);
        let taken = if self.rest.is_empty() { push(line, write) } else { 0 };
        if taken == 0 {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        self.rest.extend_from_slice(&line[taken..]);
        true
    }

    /// To be called when another file takes the place: the end of an old line does not belong
    /// there.
    pub fn forget_rest(&mut self) {
        self.rest.clear();
    }
}

/// Writes until all is written or no more is taken, and tells how much that was.
fn push(bytes: &[u8], write: Write<'_>) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        match write(&bytes[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_fits_in_part_is_ended_before_the_next() {
        let mut sink = Sink::default();
        let mut seen = Vec::new();
        let mut put = |sink: &mut Sink, line: &str, mut room: usize| {
            sink.put(line.as_bytes(), &mut |part: &[u8]| {
                let count = part.len().min(room);
                room -= count;
                seen.extend_from_slice(&part[..count]);
                if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
            })
        };
        assert!(put(&mut sink, "first\n", 2));
        assert!(!put(&mut sink, "second\n", 0));
        assert!(!put(&mut sink, "third\n", 3));
        assert!(put(&mut sink, "fourth\n", 100));
        assert_eq!(sink.lost, 2);
        assert_eq!(String::from_utf8_lossy(&seen), "first\nfourth\n");
    }
}
