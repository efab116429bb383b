//! /healthz and /readyz, for load balancers and for supervisors of processes.

use super::View;
use super::answer::HttpResponse;
use super::request::{HttpRequest, HttpStatus};
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::{DatabaseId, PoolId};
use crate::pool::records::site::Health;
use crate::pool::records::wait::Shutdown;

/// Always "ok": if the loop did not turn, there would be no answer.
pub fn healthz() -> HttpResponse {
    HttpResponse::text(HttpStatus::Ok, "ok")
}

/// Whether new clients would be served; with `db=`, those of that database.
pub fn readyz(view: View<'_>, request: &HttpRequest) -> HttpResponse {
    let database = match request.parameter("db").transpose() {
        Ok(database) => database,
        Err(status) => return HttpResponse::refusal(status),
    };
    let id = database.as_deref().and_then(|name| view.core.directory.find_database(name));
    if database.as_deref().is_some_and(|name| id.is_none() && name != CONSOLE) {
        return HttpResponse::text(
            HttpStatus::NotFound,
            "no such database, or nobody has used it yet",
        );
    }
    match why_not(view, id) {
        None => HttpResponse::text(HttpStatus::Ok, "ready"),
        Some(reason) => HttpResponse::text(HttpStatus::Unavailable, &reason),
    }
}

/// Why the pooler, or the database, is not ready.
fn why_not(view: View<'_>, database: Option<DatabaseId>) -> Option<String> {
    let core = view.core;
    if core.shutdown != Shutdown::No {
        return Some("draining: the end of the process has been asked for".into());
    }
    if core.is_paused {
        return Some("paused".into());
    }
    if !view.facts.is_listening {
        return Some("not listening for clients".into());
    }
    database.and_then(|id| why_not_for(core, id))
}

/// Why the last connection or login to a server of the database failed, if it did.
fn failure(core: &Core, database: DatabaseId) -> Option<String> {
    let refusal = || {
        let mut pools = core.databases[database].pools.iter();
        pools.find_map(|pool| refusal(core, *pool))
    };
    host_failure(core, database).or_else(refusal)
}

/// The same for a pool.
pub fn pool_failure(core: &Core, pool: PoolId) -> Option<String> {
    host_failure(core, core.pools[pool].database).or_else(|| refusal(core, pool))
}

fn host_failure(core: &Core, database: DatabaseId) -> Option<String> {
    let sites = core.databases[database].sites.iter().map(|site| &core.sites[*site]);
    let mut failures = sites.map(|site| match &site.health {
        Health::Failing { error, .. } => Some(error),
        Health::Slow | Health::Well => None,
    });
    // One host that can be reached is enough.
    let all_fail = failures.clone().all(|failure| failure.is_some());
    let error = failures.next().flatten().filter(|_| all_fail)?;
    Some(format!("the last connection to its server failed: {error}"))
}

fn refusal(core: &Core, pool: PoolId) -> Option<String> {
    let message = &core.pools[pool].refusal.as_ref()?.message;
    Some(format!("the last login to its server failed: {message}"))
}

fn why_not_for(core: &Core, id: DatabaseId) -> Option<String> {
    let database = &core.databases[id];
    if database.is_disabled {
        return Some("the database is disabled".into());
    }
    if database.is_paused {
        return Some("the database is paused".into());
    }
    failure(core, id)
}
