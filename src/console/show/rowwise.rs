//! The tables that /metrics reads some rows at a time.

use super::super::table::{Slices, Subject};
use super::{databases, pools, session_state, stats};
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::records::pool::Purpose;

pub static DATABASES: Slices<databases::DatabaseRow> =
    Slices { sheet: &databases::DATABASES, subjects: all_databases, row: database };

pub static STATS_TOTALS: Slices<stats::StatsRow> = Slices {
    sheet: &stats::STATS_TOTALS,
    subjects: all_databases,
    row: |core, subject| stats::StatsRow::of(core, database(core, subject)?),
};

pub static POOLS: Slices<pools::PoolRow> =
    Slices { sheet: &pools::POOLS, subjects: all_pools, row: pool };

pub static SESSION_STATE: Slices<PoolId> = Slices {
    sheet: &session_state::SESSION_STATE,
    subjects: all_pools,
    row: |core, subject| {
        let id = pool(core, subject)??;
        (core.pools[id].purpose == Purpose::Clients).then_some(id)
    },
};

fn all_databases(core: &Core) -> Vec<Subject> {
    databases::all(core).into_iter().map(Subject::Database).collect()
}

fn all_pools(core: &Core) -> Vec<Subject> {
    pools::all(core).into_iter().map(Subject::Pool).collect()
}

fn database(core: &Core, subject: Subject) -> Option<databases::DatabaseRow> {
    match subject {
        Subject::Database(None) => Some(None),
        Subject::Database(Some(id)) => {
            (core.databases.contains(id) && core.is_shown(id)).then_some(Some(id))
        }
        Subject::Pool(_) => None,
    }
}

fn pool(core: &Core, subject: Subject) -> Option<pools::PoolRow> {
    match subject {
        Subject::Pool(None) => Some(None),
        Subject::Pool(Some(id)) => {
            (core.pools.contains(id) && pools::is_shown(core, id)).then_some(Some(id))
        }
        Subject::Database(_) => None,
    }
}
