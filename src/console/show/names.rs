//! Small tables: version, state, host names, and parameters that drivers ask a server for.

use super::super::table::{Scene, Sheet, Value, int4, int8, text};
use crate::pool::login::account::VERSION as NUMBER;
use crate::pool::records::wait::Shutdown;

pub static VERSION: Sheet<()> = Sheet {
    columns: &[&[text("version", |_, _| Value::owned(format_args!("PgBouncer {NUMBER}")))]],
    rows: |_| vec![()],
};

pub static STATE: Sheet<(&str, bool)> = Sheet {
    columns: &[&[
        text("key", |_, row| Value::text(row.0)),
        text("value", |_, row| Value::text(if row.1 { "yes" } else { "no" })),
    ]],
    rows: |scene| {
        let is_ending = scene.core.shutdown >= Shutdown::WaitForServers;
        let is_paused = scene.core.is_paused || is_ending;
        vec![("active", !is_paused), ("paused", is_paused)]
    },
};

/// A name that was looked up, its addresses, and for how many seconds more they are used.
pub struct HostName {
    name: String,
    seconds: u64,
    addresses: String,
}

pub static DNS_HOSTS: Sheet<HostName> = Sheet {
    columns: &[&[
        text("hostname", |_, row| Value::owned(&row.name)),
        int8("ttl", |_, row| Value::Number(row.seconds)),
        text("addrs", |_, row| Value::owned(&row.addresses)),
    ]],
    rows: host_names,
};

fn host_names(scene: Scene<'_>) -> Vec<HostName> {
    let now = scene.core.mono();
    let names = scene.core.dns.iter().into_iter();
    names
        .map(|(name, entry)| {
            // Port 0: the port is not looked up, but stands in a line of the configuration.
            let addresses = entry.addresses.iter().map(|&ip| std::net::SocketAddr::new(ip, 0));
            HostName {
                name: name.to_owned(),
                seconds: entry.expires.since(now).as_secs(),
                addresses: addresses.map(|a| a.to_string()).collect::<Vec<_>>().join(","),
            }
        })
        .collect()
}

/// The pooler does not ask for serial numbers of zones, so there is never a row.
pub static DNS_ZONES: Sheet<()> = Sheet {
    columns: &[&[
        text("zonename", |_, _| Value::Null),
        int8("serial", |_, _| Value::Null),
        int4("count", |_, _| Value::Null),
    ]],
    rows: |_| Vec::new(),
};

pub static CLIENT_ENCODING: Sheet<()> = Sheet {
    columns: &[&[text("client_encoding", |_, _| Value::text("UTF-8"))]],
    rows: |_| vec![()],
};

pub static DATESTYLE: Sheet<()> =
    Sheet { columns: &[&[text("datestyle", |_, _| Value::text("ISO"))]], rows: |_| vec![()] };

pub static EXTRA_FLOAT_DIGITS: Sheet<()> = Sheet {
    columns: &[&[text("extra_float_digits", |_, _| Value::text("2"))]],
    rows: |_| vec![()],
};

pub static STANDARD_CONFORMING_STRINGS: Sheet<()> = Sheet {
    columns: &[&[text("standard_conforming_strings", |_, _| Value::text("on"))]],
    rows: |_| vec![()],
};

pub static TIMEZONE: Sheet<()> =
    Sheet { columns: &[&[text("timezone", |_, _| Value::text("GMT"))]], rows: |_| vec![()] };
