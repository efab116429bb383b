//! When resting pools must be looked at next.
//!
//! A pool without anything under way rests until its first timeout is due, so that the sweep spends
//! no time on it, however many pools rest. The calendar is a wheel of lists: each slot is one step
//! of the sweep. A pool that is due later than one turn of the wheel is looked at once in each turn
//! and put back.

use std::time::Duration;

use super::pool::{Pool, Rest};
use crate::base::arena::Arena;
use crate::base::list::List;
use crate::base::time::{Moment, NEVER};
use crate::pool::ids::PoolId;

/// The duration of one slot.
pub const STEP: Duration = Duration::from_millis(333);

/// Slots of the wheel, whose turn takes some six minutes.
const SLOTS: u64 = 1024;

pub struct Calendar {
    slots: Vec<List<Pool>>,
    /// Pools that rest until a client comes.
    never: List<Pool>,
    /// The last step whose slot was taken.
    taken: u64,
    /// The first step whose slot holds a pool, or an earlier one.
    first: u64,
}

fn step_of(moment: Moment) -> u64 {
    moment.0 / STEP.as_micros() as u64
}

impl Calendar {
    pub fn new(now: Moment) -> Calendar {
        let slots = (0..SLOTS).map(|_| List::default()).collect();
        Calendar { slots, never: List::default(), taken: step_of(now), first: u64::MAX }
    }

    fn list(&mut self, rest: Rest) -> Option<&mut List<Pool>> {
        match rest {
            Rest::Awake => None,
            Rest::Never => Some(&mut self.never),
            Rest::Slot(slot) => self.slots.get_mut(usize::from(slot)),
        }
    }

    /// Lets a pool, which is in no list, rest until `due`.
    pub fn put(&mut self, pools: &mut Arena<Pool>, id: PoolId, due: Moment) {
        let rest = if due == NEVER {
            Rest::Never
        } else {
            let step = (step_of(due) + 1).clamp(self.taken + 1, self.taken + SLOTS - 1);
            self.first = self.first.min(step);
            Rest::Slot((step % SLOTS) as u16)
        };
        pools[id].rest = rest;
        if let Some(list) = self.list(rest) {
            list.push_back(pools, id);
        }
    }

    /// Ends the rest of a pool.
    pub fn take(&mut self, pools: &mut Arena<Pool>, id: PoolId) {
        let rest = std::mem::replace(&mut pools[id].rest, Rest::Awake);
        if let Some(list) = self.list(rest) {
            list.remove(pools, id);
        }
    }

    /// The pools whose rest is over. The caller must take them out.
    pub fn due(&mut self, pools: &Arena<Pool>, now: Moment) -> Vec<PoolId> {
        let now = step_of(now);
        let first = (self.taken + 1).max((now + 1).saturating_sub(SLOTS));
        self.taken = now.max(self.taken);
        let mut later = self.taken + 1..self.taken + SLOTS;
        let holds = |step: &u64| !self.slots[(step % SLOTS) as usize].is_empty();
        self.first = later.find(holds).unwrap_or(u64::MAX);
        let slots = (first..=now).map(|step| &self.slots[(step % SLOTS) as usize]);
        slots.flat_map(|slot| slot.ids(pools)).collect()
    }

    /// When the next pool is due, or an earlier time.
    pub fn next(&self) -> Option<Moment> {
        (self.first < u64::MAX).then(|| Moment(self.first * STEP.as_micros() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::arena::Id;
    use crate::config::PoolMode;
    use crate::pool::records::pool::Purpose;

    fn seconds(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn pools_come_back_when_they_are_due_and_not_before() {
        let mut pools: Arena<Pool> = Arena::new();
        let mut calendar = Calendar::new(seconds(1000));
        let nobody = (Id::from_bits(0), Id::from_bits(0));
        let due = [1000, 1001, 1010, 5000].map(seconds).into_iter().chain([NEVER]);
        let ids: Vec<PoolId> = due
            .map(|due| {
                let id = pools.insert(Pool::new(
                    nobody,
                    Purpose::Clients,
                    PoolMode::Session,
                    seconds(0),
                ));
                calendar.put(&mut pools, id, due);
                id
            })
            .collect();
        assert_eq!(calendar.next().map(step_of), Some(step_of(seconds(1000)) + 1));
        let mut taken = |calendar: &mut Calendar, at: u64| {
            let due = calendar.due(&pools, seconds(at));
            due.iter().for_each(|id| calendar.take(&mut pools, *id));
            due
        };
        assert_eq!(taken(&mut calendar, 1000), []);
        assert_eq!(taken(&mut calendar, 1002), ids[..2]);
        assert_eq!(taken(&mut calendar, 1009), []);
        assert_eq!(taken(&mut calendar, 1011), ids[2..3]);
        // A pool that is due later than a turn is looked at once a turn, even if the clock leaps.
        assert_eq!(taken(&mut calendar, 1_000_000), ids[3..4]);
        assert_eq!(taken(&mut calendar, 1_000_001), []);
        assert_eq!(calendar.next(), None, "the last one rests for ever");
    }
}
