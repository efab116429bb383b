//! Requests and replies that are taken by the stretch: [`Replies::push`] and [`Replies::received`]
//! for the common case.

use super::{Bar, Copy, Owner, Replies, Request, TransactionStatus};
use crate::wire::head;
use crate::wire::kind::Back;

impl Replies {
    /// Whether messages may pass by the stretch: requests are under way, and no further message
    /// will be skipped, refused or held back.
    #[inline]
    pub fn takes_routine(&self) -> bool {
        !self.skipping && !self.refusing && !self.queue.is_empty() && !self.is_barred()
    }

    /// Whether a COPY is under way.
    #[inline]
    pub fn is_copying(&self) -> bool {
        self.copy != Copy::None
    }

    /// The server has nothing to do, and the first request comes by the stretch.
    #[inline(always)]
    pub fn begin(&mut self) {
        debug_assert!(self.is_clean() && !self.refusing);
        self.bar = Bar::Open;
        self.unflushed = false;
    }

    /// As [`Replies::push`] of a simple query, after [`Replies::begin`].
    #[inline(always)]
    pub fn push_first_query(&mut self) {
        self.queue.push_back(Request::Query);
    }

    /// As [`Replies::push`], if [`Replies::takes_routine`] and no COPY is under way.
    #[inline(always)]
    pub fn push_routine(&mut self, request: Request) {
        let is_sync = matches!(request, Request::Sync);
        if is_sync {
            self.segment = self.segment.wrapping_add(1);
        }
        (self.unsynced, self.unflushed) = (!is_sync, !is_sync);
        self.unnamed.sent(&request, self.segment);
        self.queue.push_back(request);
    }

    /// Takes the whole replies at the start of `data` that belong to the client and mean nothing
    /// else to the pooler, and the ReadyForQuery behind them. Returns the length of the former, and
    /// the status that the latter tells. All others are left to [`Replies::received`], and so are
    /// tags that are not `is_routine`.
    #[inline(never)]
    pub fn take_routine(
        &mut self,
        data: &[u8],
        is_routine: impl Fn(&[u8]) -> bool,
    ) -> (usize, Option<TransactionStatus>) {
        match self.queue.front() {
            None => (0, None),
            Some(Request::Query) => self.take_of_query(data, is_routine),
            Some(_) => self.take_of_extended(data, is_routine),
        }
    }

    /// Takes the results of a simple query.
    #[inline(always)]
    fn take_of_query(
        &mut self,
        data: &[u8],
        is_routine: impl Fn(&[u8]) -> bool,
    ) -> (usize, Option<TransactionStatus>) {
        let mut left = data;
        let mut ready = None;
        while let Some((byte, body, rest)) = head::split_whole(left) {
            // Most are rows. Of what is whole, none is longer than a row may be.
            if byte == Back::DataRow as u8 {
                left = head::behind_run(rest, byte, usize::MAX);
                continue;
            }
            match Back::from_byte(byte) {
                Some(Back::RowDescription) => {}
                Some(Back::CopyData) if self.is_copying() => {
                    left = head::behind_run(rest, byte, usize::MAX);
                    continue;
                }
                Some(kind @ (Back::CommandComplete | Back::EmptyQuery))
                    if body.len() <= kind.largest() && is_routine(body) =>
                {
                    self.query_has_result();
                }
                Some(Back::ReadyForQuery) => {
                    if let [status] = body {
                        ready = self.ready(Some(Request::Query), *status).ok();
                    }
                    break;
                }
                _ => break,
            }
            left = rest;
        }
        (data.len() - left.len(), ready)
    }

    /// Takes the replies to messages of the extended protocol, up to that of a Sync.
    #[inline(always)]
    fn take_of_extended(
        &mut self,
        data: &[u8],
        is_routine: impl Fn(&[u8]) -> bool,
    ) -> (usize, Option<TransactionStatus>) {
        let Replies { queue, copy, has_result, unnamed, bound, .. } = self;
        let mut under_way: &[Request] = queue;
        let mut left = data;
        let mut status = None;
        while let [front, later @ ..] = under_way {
            let behind = match *front {
                Request::Execute => loop {
                    let Some((byte, body, rest)) = head::split_whole(left) else { break None };
                    if byte == Back::DataRow as u8 {
                        left = head::behind_run(rest, byte, usize::MAX);
                        continue;
                    }
                    match Back::from_byte(byte) {
                        Some(Back::CopyData) if *copy != Copy::None => {
                            left = head::behind_run(rest, byte, usize::MAX);
                            continue;
                        }
                        Some(kind @ (Back::CommandComplete | Back::EmptyQuery))
                            if body.len() <= kind.largest() && is_routine(body) =>
                        {
                            *copy = Copy::None;
                            break Some(rest);
                        }
                        Some(Back::PortalSuspended) if body.is_empty() => break Some(rest),
                        _ => break None,
                    }
                },
                Request::Bind(statement) => {
                    let behind = Back::BindComplete.behind_empty(left);
                    if behind.is_some() {
                        *bound = statement;
                    }
                    behind
                }
                Request::Describe(_) => match head::split_whole(left) {
                    Some((byte, body, rest))
                        if byte == Back::RowDescription as u8
                            || byte == Back::NoData as u8 && body.is_empty() =>
                    {
                        Some(rest)
                    }
                    _ => None,
                },
                Request::Parse(None) => {
                    let behind = Back::ParseComplete.behind_empty(left);
                    if behind.is_some() {
                        *unnamed = Owner::Own;
                    }
                    behind
                }
                Request::ParseNamed => Back::ParseComplete.behind_empty(left),
                Request::Sync => {
                    if let Some((byte, &[of_ready], _)) = head::split_whole(left)
                        && byte == Back::ReadyForQuery as u8
                    {
                        status = Some(of_ready);
                    }
                    None
                }
                // Nothing answers the end of a COPY that was not asked for data.
                Request::CopyEnd => Some(left),
                _ => None,
            };
            let Some(behind) = behind else { break };
            // None of these is a Sync, so the bar stays.
            *has_result = false;
            (left, under_way) = (behind, later);
        }
        let answered = queue.len() - under_way.len();
        queue.drop_front(answered);
        let ready = status.and_then(|status| self.ready(Some(Request::Sync), status).ok());
        (data.len() - left.len(), ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};
    use crate::pool::ids::StatementId;
    use crate::pool::owed::replies::Reply;
    use crate::wire::build;

    /// Most of the replies that the request at the front gets are such as it may get.
    fn random_reply(rng: &mut SeededRng, front: Option<&Request>) -> Back {
        let of_front: &[Back] = match front {
            Some(Request::Query) => {
                &[Back::RowDescription, Back::DataRow, Back::CommandComplete, Back::ReadyForQuery]
            }
            Some(Request::Execute) => {
                &[Back::DataRow, Back::CommandComplete, Back::PortalSuspended, Back::CopyOut]
            }
            Some(Request::Bind(_)) => &[Back::BindComplete],
            Some(Request::Describe(_)) => &[Back::RowDescription, Back::NoData],
            Some(Request::Parse(_) | Request::ParseNamed) => &[Back::ParseComplete],
            Some(Request::Sync) => &[Back::ReadyForQuery],
            _ => &[Back::CopyData],
        };
        match rng.one_in(4) {
            true => Back::ALL[rng.below(Back::ALL.len() as u64) as usize],
            false => of_front[rng.below(of_front.len() as u64) as usize],
        }
    }

    fn random_body(rng: &mut SeededRng, kind: Back) -> &'static [u8] {
        let bodies: &[&[u8]] = match kind {
            Back::ReadyForQuery => &[b"I", b"T", b"E", b"I", b"T", b"E", b"x", b"", b"II"],
            Back::CommandComplete => &[b"SELECT 1\0", b"not routine\0", b""],
            Back::CopyData | Back::DataRow | Back::RowDescription => &[b"some", b""],
            _ => &[b"", b"", b"", b"x"],
        };
        bodies[rng.below(bodies.len() as u64) as usize]
    }

    fn is_routine(tag: &[u8]) -> bool {
        tag != b"not routine\0"
    }

    /// What is taken as routine leaves everything as the judge would have left it, and so does the
    /// ReadyForQuery behind it.
    #[test]
    fn routine_replies_come_to_the_same_as_judged_ones() {
        let statement = StatementId::from_bits(1);
        let requests = [
            Request::AnswerParse,
            Request::Bind(None),
            Request::Bind(Some(statement)),
            Request::CopyEnd,
            Request::Describe(Some(statement)),
            Request::Execute,
            Request::FunctionCall,
            Request::OwnParse(statement),
            Request::OwnUnnamed,
            Request::Parse(None),
            Request::Parse(Some(statement)),
            Request::ParseNamed,
            Request::Query,
            Request::Sync,
        ];
        let (mut readies, mut bytes) = (0, 0);
        for seed in 0..1_000 {
            let mut rng = SeededRng::new(seed);
            let (mut judged, mut taken) = (Replies::default(), Replies::default());
            for step in 0..60 {
                for _ in 0..rng.below(4) {
                    let request = requests[rng.below(requests.len() as u64) as usize];
                    if request == Request::CopyEnd && judged.is_answered() {
                        continue;
                    }
                    judged.push(request);
                    taken.push(request);
                }
                if rng.one_in(30) {
                    judged.bar_until_synced();
                    taken.bar_until_synced();
                }
                // The replies are judged one by one, as long as they could be routine.
                let (mut data, mut expected) = (Vec::new(), Vec::new());
                let mut before = Vec::new();
                for _ in 0..rng.below(12) {
                    let kind = random_reply(&mut rng, judged.queue.front());
                    let body = random_body(&mut rng, kind);
                    build::Message::back(&mut data, kind).bytes(body).end();
                    before.push(format!("{judged:?}"));
                    let reply = judged.received(kind, body.first().copied().unwrap_or_default());
                    expected.push((data.len(), kind, body, reply));
                    if reply != Ok(Reply::Forward) || kind == Back::ErrorResponse {
                        break;
                    }
                }
                let at_end = format!("{judged:?}");
                let (taken_bytes, ready) = taken.take_routine(&data, is_routine);
                bytes += taken_bytes;
                let passed = expected.iter().take_while(|reply| reply.0 <= taken_bytes).count();
                let what =
                    format!("seed {seed}, step {step}: {expected:?}, {taken_bytes}, {ready:?}");
                assert!(
                    passed == 0 && taken_bytes == 0 || expected[passed - 1].0 == taken_bytes,
                    "{what}"
                );
                for &(_, kind, body, reply) in &expected[..passed] {
                    assert_eq!(reply, Ok(Reply::Forward), "{what}");
                    assert!(kind != Back::CommandComplete || is_routine(body), "{what}");
                    assert!(body.len() <= kind.largest(), "{what}");
                }
                let next = expected.get(passed);
                if let Some(status) = ready {
                    readies += 1;
                    let &(_, kind, body, reply) = next.expect("a ReadyForQuery");
                    assert_eq!(
                        (kind, body.len(), reply),
                        (Back::ReadyForQuery, 1, Ok(Reply::Ready(status))),
                        "{what}"
                    );
                }
                let passed = passed + usize::from(ready.is_some());
                let now = format!("{taken:?}");
                assert_eq!(&now, before.get(passed).unwrap_or(&at_end), "{what}");
                for &(_, kind, body, reply) in &expected[passed..] {
                    assert_eq!(
                        taken.received(kind, body.first().copied().unwrap_or_default()),
                        reply,
                        "{what}"
                    );
                }
                while judged.answer_due().is_some() {
                    taken.answer_due();
                }
            }
        }
        assert!(readies > 1_000 && bytes > 10_000, "{readies} of {bytes} bytes");
    }
}
