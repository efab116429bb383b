//! A scrape under way. Some rows are read into a snapshot in each turn of the loop, since there may
//! be thousands of pools. A row shows one moment; two rows may show different moments. A pool that
//! has gone meanwhile is left out, and a new one comes with the next scrape.

use std::collections::VecDeque;

use super::answer::{Body, HttpResponse};
use super::exposition::Snapshot;
use super::request::HttpStatus;
use super::walk::Walk;
use super::{View, families, own};

/// Rows that are read in one turn: a few microseconds each.
const MOST_ROWS: usize = 64;

pub struct Gathering {
    snapshot: Snapshot,
    walks: VecDeque<Box<dyn Walk>>,
    is_openmetrics: bool,
}

impl Gathering {
    /// Begins with the families that are read at once.
    pub fn new(view: View<'_>, is_openmetrics: bool) -> Gathering {
        let mut snapshot = Snapshot::new();
        own::push_singles(&mut snapshot, view);
        families::push_singles(&mut snapshot, view.core);
        let walks = own::walks().into_iter().chain(families::walks()).collect();
        Gathering { snapshot, walks, is_openmetrics }
    }

    /// Reads as many rows as one turn may. Returns whether all rows are read.
    pub fn go_on(&mut self, view: View<'_>) -> bool {
        let mut most = MOST_ROWS;
        while let Some(walk) = self.walks.front_mut() {
            if most == 0 || !walk.go_on(&mut self.snapshot, view, &mut most) {
                return false;
            }
            self.walks.pop_front();
        }
        true
    }

    pub fn into_answer(self) -> HttpResponse {
        let rendering = self.snapshot.render(self.is_openmetrics);
        let content_type = rendering.content_type();
        HttpResponse {
            status: HttpStatus::Ok,
            content_type,
            body: Body::Slices(rendering),
            extra: "",
        }
    }
}
