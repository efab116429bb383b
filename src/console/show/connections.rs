//! SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: one row for each connection.

use std::borrow::Cow;

use super::super::table::{BufferedBytes, Column, Scene, Sheet, Value, int4, label, text};
use super::{peers, pools, time};
use crate::base::list::List;
use crate::base::time::Moment;
use crate::log::{ConnectionSide, Ends, PeerAddress, ptr};
use crate::pool::core::Core;
use crate::pool::ids::{CarrierId, ClientId, PoolId, ServerId};
use crate::pool::records::carrier::Carrier;
use crate::pool::records::client::{self, Client, Replication, Standing};
use crate::pool::records::server::{self, Server};

/// One connection.
#[derive(Clone, Copy)]
pub enum ConnectionRow {
    Carrier(CarrierId),
    Client(ClientId),
    Server(ServerId),
}

pub static CLIENTS: Sheet<ConnectionRow> = Sheet {
    columns: &[
        BEFORE_STATE,
        &[text("state", |scene, row| Value::text(state(scene.core, row)))],
        REST,
    ],
    rows: |scene| clients(scene.core),
};

pub static SERVERS: Sheet<ConnectionRow> = Sheet {
    columns: &[
        BEFORE_STATE,
        &[text("state", |scene, row| Value::text(state(scene.core, row)))],
        REST,
    ],
    rows: |scene| servers(scene.core),
};

pub static SOCKETS: Sheet<ConnectionRow> = Sheet {
    columns: &[BEFORE_STATE, SOCKET_STATE, REST, BUFFERS],
    rows: |scene| sockets(scene.core),
};

/// The sockets for which bytes are held, or whose clients wait for a server.
pub static ACTIVE_SOCKETS: Sheet<ConnectionRow> = Sheet {
    columns: &[BEFORE_STATE, SOCKET_STATE, REST, BUFFERS],
    rows: |scene| {
        let rows = sockets(scene.core).into_iter();
        rows.filter(|row| {
            held(scene, row) != BufferedBytes::default() || is_waiting(scene.core, row)
        })
        .collect()
    },
};

const BEFORE_STATE: &[Column<ConnectionRow>] = &[
    text("type", |_, row| match row {
        ConnectionRow::Client(_) => Value::text("C"),
        ConnectionRow::Carrier(_) | ConnectionRow::Server(_) => Value::text("S"),
    }),
    text("user", |scene, row| Value::text(names(scene.core, row).1)),
    text("database", |scene, row| Value::text(names(scene.core, row).0)),
    text("replication", |scene, row| Value::text(replication(scene.core, row))),
];

const SOCKET_STATE: &[Column<ConnectionRow>] =
    &[text("state", |scene, row| Value::text(socket_state(scene.core, row)))];

const REST: &[Column<ConnectionRow>] = &[
    text("addr", |scene, row| address(ends(scene.core, row).0)),
    label(int4("port", |scene, row| Value::Number(port(ends(scene.core, row).0)))),
    text("local_addr", |scene, row| address(ends(scene.core, row).1)),
    label(int4("local_port", |scene, row| Value::Number(port(ends(scene.core, row).1)))),
    text("connect_time", |scene, row| moment(scene, times(scene.core, row).0)),
    text("request_time", |scene, row| moment(scene, times(scene.core, row).1)),
    int4("wait", |scene, row| Value::Number(wait_us(scene.core, row) / 1_000_000)),
    int4("wait_us", |scene, row| Value::Number(wait_us(scene.core, row) % 1_000_000)),
    label(int4("close_needed", |scene, row| match *row {
        ConnectionRow::Carrier(_) | ConnectionRow::Client(_) => Value::flag(false),
        ConnectionRow::Server(id) => Value::flag(scene.core.is_close_needed(id)),
    })),
    text("ptr", |scene, row| pointer(scene.core, Some(*row))),
    text("link", |scene, row| pointer(scene.core, link(scene.core, row))),
    label(int4("remote_pid", |scene, row| Value::Number(remote_pid(scene.core, row)))),
    text("tls", |scene, row| {
        let tls = match *row {
            ConnectionRow::Carrier(id) => scene.core.carriers[id].tls.as_deref(),
            ConnectionRow::Client(id) => scene.core.clients[id].tls(),
            ConnectionRow::Server(id) => scene.core.servers[id].tls.as_deref(),
        };
        Value::text(tls.map_or("", |tls| &tls.description))
    }),
    text("application_name", |scene, row| {
        let vars = match *row {
            ConnectionRow::Carrier(_) => return Value::text(""),
            ConnectionRow::Client(id) => &scene.core.clients[id].vars.told,
            ConnectionRow::Server(id) => &scene.core.servers[id].vars.present,
        };
        Value::Text(scene.core.vars.named(vars, "application_name").unwrap_or_default())
    }),
    int4("prepared_statements", |scene, row| Value::count(statements(scene.core, row))),
    label(int4("id", |scene, row| {
        Value::Number(match *row {
            ConnectionRow::Carrier(id) => scene.core.carriers[id].number,
            ConnectionRow::Client(id) => scene.core.clients[id].number,
            ConnectionRow::Server(id) => scene.core.servers[id].number,
        })
    })),
];

/// PgBouncer's columns about its buffers: how many bytes were read and not yet judged, and how many
/// are left to be sent. Here judged bytes do not stay in a buffer, so positions are 0.
const BUFFERS: &[Column<ConnectionRow>] = &[
    int4("recv_pos", |scene, row| Value::count(held(scene, row).received)),
    int4("pkt_pos", |_, _| Value::Number(0)),
    int4("pkt_remain", |_, _| Value::Number(0)),
    int4("send_pos", |_, _| Value::Number(0)),
    int4("send_remain", |scene, row| Value::count(held(scene, row).unsent)),
    int4("pkt_avail", |scene, row| Value::count(held(scene, row).received)),
    int4("send_avail", |scene, row| Value::count(held(scene, row).unsent)),
];

/// What /metrics counts clients by.
pub struct Visible<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub application: Cow<'a, str>,
    pub state: &'static str,
}

/// A row of SHOW CLIENTS, if the client has one.
pub fn visible_client(core: &Core, id: ClientId) -> Option<Visible<'_>> {
    let client = core.clients.get(id)?;
    let is_shown = match client.state() {
        client::ClientState::Login(login) => login.is_queued(),
        client::ClientState::Closing(_) => false,
        _ => true,
    };
    if !is_shown {
        return None;
    }
    let (database, user) = names(core, &ConnectionRow::Client(id));
    let application = core.vars.named(&client.vars.told, "application_name");
    let (application, state) = (application.unwrap_or_default(), client_state(core, client));
    Some(Visible { database, user, application, state })
}

/// Clients past their login, by pool, where the console counts as a pool. Clients whose cancel
/// request is for a peer come last.
fn clients(core: &Core) -> Vec<ConnectionRow> {
    let cancels = cancel_clients(core);
    let mut rows = Vec::new();
    for pool in pools::with_lookups(core) {
        push_clients(&mut rows, core, pool, &cancels);
    }
    let of_peers = cancels.iter().filter(|(of, _)| of.is_none());
    rows.extend(of_peers.map(|(_, client)| ConnectionRow::Client(*client)));
    rows
}

fn push_clients(
    rows: &mut Vec<ConnectionRow>,
    core: &Core,
    pool: Option<PoolId>,
    cancels: &[(Option<PoolId>, ClientId)],
) {
    let Some(id) = pool else {
        return rows.extend(core.consoles.iter(&core.clients).map(ConnectionRow::Client));
    };
    let record = &core.pools[id];
    for has_server in [true, false] {
        let settled = record.settled.iter(&core.clients);
        let chosen = settled.filter(|id| core.clients[*id].server().is_some() == has_server);
        rows.extend(chosen.map(ConnectionRow::Client));
    }
    for list in [&record.waiting, &record.welcoming] {
        rows.extend(list.iter(&core.clients).map(ConnectionRow::Client));
    }
    rows.extend(record.clients_of_queued_lookups().map(ConnectionRow::Client));
    let of_pool = cancels.iter().filter(|(of, _)| *of == pool);
    rows.extend(of_pool.map(|(_, client)| ConnectionRow::Client(*client)));
}

/// Clients with a cancel request, and the pool whose query it is to cancel; `None` for a peer.
fn cancel_clients(core: &Core) -> Vec<(Option<PoolId>, ClientId)> {
    let clients = core.cancel_clients.iter(&core.clients);
    clients.map(|id| (carrier(core, &core.clients[id]).and_then(Carrier::pool), id)).collect()
}

/// The connection that carries a client's cancel request.
fn carrier<'a>(core: &'a Core, client: &Client) -> Option<&'a Carrier> {
    core.carriers.get(client.cancel_carrier()?)
}

/// Servers and carriers, by pool; those that carry requests to peers come last.
fn servers(core: &Core) -> Vec<ConnectionRow> {
    let pools = pools::with_lookups(core).into_iter().flatten();
    let to_peers =
        peers::used(core).into_iter().flat_map(|id| carriers(core, &core.peers[id].carriers));
    pools.flat_map(|id| servers_of(core, id)).chain(to_peers).collect()
}

fn servers_of(core: &Core, id: PoolId) -> impl Iterator<Item = ConnectionRow> {
    let pool = &core.pools[id];
    let before = [&pool.active, &pool.idle, &pool.used, &pool.tested];
    let behind = [&pool.being_canceled, &pool.logging_in];
    let servers = |list: &List<Server>| list.iter(&core.servers).map(ConnectionRow::Server);
    let carriers = carriers(core, &pool.carriers);
    before.into_iter().flat_map(servers).chain(carriers).chain(behind.into_iter().flat_map(servers))
}

fn carriers<'a>(
    core: &'a Core,
    list: &List<Carrier>,
) -> impl Iterator<Item = ConnectionRow> + use<'a> {
    list.iter(&core.carriers).map(ConnectionRow::Carrier)
}

/// All connections except those that carry requests to peers, by pool; clients in login come last.
fn sockets(core: &Core) -> Vec<ConnectionRow> {
    let cancels = cancel_clients(core);
    let mut rows = Vec::new();
    for pool in pools::with_lookups(core) {
        push_clients(&mut rows, core, pool, &cancels);
        rows.extend(pool.into_iter().flat_map(|id| servers_of(core, id)));
    }
    rows.extend(core.logins.iter(&core.clients).map(ConnectionRow::Client));
    rows
}

/// Database and user.
fn names<'a>(core: &'a Core, row: &ConnectionRow) -> (&'a str, &'a str) {
    let client = match *row {
        ConnectionRow::Server(id) => return pools::names(core, &Some(core.servers[id].pool)),
        ConnectionRow::Carrier(id) => {
            let pool = core.carriers[id].pool();
            return pool.map_or((NO_DATABASE, NO_USER), |pool| pools::names(core, &Some(pool)));
        }
        ConnectionRow::Client(id) => id,
    };
    if let Some(pool) = carrier(core, &core.clients[client]).and_then(Carrier::pool) {
        return (pools::names(core, &Some(pool)).0, NO_USER);
    }
    let (database, user) = core.names_of(client);
    (database.unwrap_or(NO_DATABASE), user.unwrap_or(NO_USER))
}

const NO_DATABASE: &str = "(nodb)";
const NO_USER: &str = "(nouser)";

fn replication(core: &Core, row: &ConnectionRow) -> &'static str {
    let client = match *row {
        ConnectionRow::Carrier(_) => None,
        ConnectionRow::Client(id) => Some(id),
        ConnectionRow::Server(id) => {
            core.servers[id].client().filter(|_| core.servers[id].is_private)
        }
    };
    match client.map(|id| core.clients[id].replication) {
        Some(Replication::Logical) => "logical",
        Some(Replication::Physical) => "physical",
        Some(Replication::No) | None => "none",
    }
}

fn state(core: &Core, row: &ConnectionRow) -> &'static str {
    match *row {
        ConnectionRow::Carrier(_) => "active_cancel",
        ConnectionRow::Client(id) => client_state(core, &core.clients[id]),
        ConnectionRow::Server(id) => server_state(&core.servers[id]),
    }
}

fn client_state(core: &Core, client: &Client) -> &'static str {
    match client.state() {
        client::ClientState::Member(_, standing) => match standing {
            Standing::Active { .. } => "active",
            Standing::AwaitWelcome | Standing::Waiting => "waiting",
            Standing::Idle => "idle",
        },
        client::ClientState::Cancel { .. } => match carrier(core, client) {
            Some(carrier) if carrier.is_sent() => "active_cancel_req",
            _ => "waiting_cancel_req",
        },
        client::ClientState::Closing(_) => "justfree",
        client::ClientState::Console(_) => "idle",
        client::ClientState::Login(login) if login.is_queued() => "waiting",
        client::ClientState::Login(_) => "login",
    }
}

fn server_state(server: &Server) -> &'static str {
    match server.state() {
        server::ServerState::Active { .. } | server::ServerState::Lookup(_) => "active",
        server::ServerState::BeingCanceled => "being_canceled",
        server::ServerState::Closing => "justfree",
        server::ServerState::Idle => "idle",
        server::ServerState::Login(_) => "new",
        // No table is read while a server is `Between`.
        server::ServerState::Between | server::ServerState::Tested(_) => "tested",
        server::ServerState::Used => "used",
    }
}

/// The state as SHOW SOCKETS spells it.
fn socket_state(core: &Core, row: &ConnectionRow) -> &'static str {
    match (row, state(core, row)) {
        (ConnectionRow::Client(_), "active" | "idle") => "cl_active",
        (ConnectionRow::Client(_), "waiting") => "cl_waiting",
        (ConnectionRow::Client(_), "active_cancel_req") => "cl_active_cancel_req",
        (ConnectionRow::Client(_), "waiting_cancel_req") => "cl_waiting_cancel_req",
        (ConnectionRow::Client(_), "login") => "cl_login",
        (ConnectionRow::Client(_), _) => "cl_justfree",
        (ConnectionRow::Server(_), "active") => "sv_active",
        (ConnectionRow::Server(_), "being_canceled") => "sv_being_canceled",
        (ConnectionRow::Carrier(_), _) => "sv_active_cancel",
        (ConnectionRow::Server(_), "idle") => "sv_idle",
        (ConnectionRow::Server(_), "new") => "sv_login",
        (ConnectionRow::Server(_), "tested") => "sv_tested",
        (ConnectionRow::Server(_), "used") => "sv_used",
        (ConnectionRow::Server(_), _) => "sv_justfree",
    }
}

/// The peer's address, and the pooler's.
fn ends(core: &Core, row: &ConnectionRow) -> Ends {
    match *row {
        ConnectionRow::Carrier(id) => (core.carriers[id].peer, core.carriers[id].local),
        ConnectionRow::Client(id) => (core.clients[id].peer, core.local_address(id)),
        ConnectionRow::Server(id) => (core.servers[id].peer, core.servers[id].local),
    }
}

fn address(peer: PeerAddress) -> Value<'static> {
    match peer {
        PeerAddress::Tcp { ip, .. } => Value::owned(ip),
        PeerAddress::Unix { .. } => Value::text("unix"),
    }
}

fn port(peer: PeerAddress) -> u64 {
    match peer {
        PeerAddress::Tcp { port, .. } | PeerAddress::Unix { port, .. } => port.into(),
    }
}

/// When the connection was made, and when it was last used.
fn times(core: &Core, row: &ConnectionRow) -> (Moment, Moment) {
    match *row {
        ConnectionRow::Carrier(id) => (core.carriers[id].connected, core.carriers[id].connected),
        ConnectionRow::Client(id) => (core.clients[id].connected, core.clients[id].requested),
        ConnectionRow::Server(id) => (core.servers[id].connected, core.servers[id].requested),
    }
}

fn moment(scene: Scene<'_>, moment: Moment) -> Value<'static> {
    time(scene.core.now.wall_us.saturating_sub(scene.core.mono().micros_since(moment)))
}

/// How many microseconds a client has waited for a server or an answer. On the console: the time
/// since its last command.
fn wait_us(core: &Core, row: &ConnectionRow) -> u64 {
    let ConnectionRow::Client(id) = *row else { return 0 };
    let client = &core.clients[id];
    let since = match *client.state() {
        client::ClientState::Member(_, Standing::Waiting) | client::ClientState::Console(_) => {
            client.requested
        }
        client::ClientState::Member(_, Standing::Active { server }) => {
            match core.servers.get(server) {
                Some(server) if !server.replies.is_answered() => client.query_start,
                _ => return 0,
            }
        }
        _ => return 0,
    };
    core.mono().micros_since(since)
}

/// The connection that this one is linked to.
fn link(core: &Core, row: &ConnectionRow) -> Option<ConnectionRow> {
    let client = match *row {
        ConnectionRow::Client(id) => return link_of_client(core, &core.clients[id]),
        ConnectionRow::Carrier(id) => core.carriers[id].client,
        ConnectionRow::Server(id) => core.servers[id].served(),
    };
    client.filter(|&client| core.clients.contains(client)).map(ConnectionRow::Client)
}

fn link_of_client(core: &Core, client: &Client) -> Option<ConnectionRow> {
    if let Some(id) = client.cancel_carrier() {
        return core.carriers.contains(id).then_some(ConnectionRow::Carrier(id));
    }
    let server = client.server().filter(|server| core.servers.contains(*server));
    server.map(ConnectionRow::Server)
}

fn pointer(core: &Core, row: Option<ConnectionRow>) -> Value<'static> {
    match row {
        None => Value::text(""),
        Some(ConnectionRow::Carrier(id)) => {
            Value::Ptr(ptr(core.carriers[id].number, ConnectionSide::Server))
        }
        Some(ConnectionRow::Client(id)) => {
            Value::Ptr(ptr(core.clients[id].number, ConnectionSide::Client))
        }
        Some(ConnectionRow::Server(id)) => {
            Value::Ptr(ptr(core.servers[id].number, ConnectionSide::Server))
        }
    }
}

/// The process at the other end: of a client behind a Unix socket, or of the backend.
fn remote_pid(core: &Core, row: &ConnectionRow) -> u64 {
    match *row {
        ConnectionRow::Carrier(_) => 0,
        ConnectionRow::Client(id) => match core.clients[id].peer {
            PeerAddress::Unix { pid, .. } => {
                pid.and_then(|pid| u64::try_from(pid).ok()).unwrap_or(0)
            }
            PeerAddress::Tcp { .. } => 0,
        },
        ConnectionRow::Server(id) => core.servers[id]
            .key
            .first_chunk()
            .map_or(0, |pid| u64::from(u32::from_be_bytes(*pid) & 0x7fff_ffff)),
    }
}

fn statements(core: &Core, row: &ConnectionRow) -> usize {
    match *row {
        ConnectionRow::Carrier(_) => 0,
        ConnectionRow::Client(id) => {
            core.clients[id].statements.as_ref().map_or(0, |names| names.len())
        }
        ConnectionRow::Server(id) => {
            core.servers[id].statements.as_ref().map_or(0, |held| held.len())
        }
    }
}

fn held(scene: Scene<'_>, row: &ConnectionRow) -> BufferedBytes {
    match *row {
        ConnectionRow::Carrier(id) => scene.buffers.carrier(id),
        ConnectionRow::Client(id) => scene.buffers.client(id),
        ConnectionRow::Server(id) => scene.buffers.server(id),
    }
}

/// Whether a client waits for a server.
fn is_waiting(core: &Core, row: &ConnectionRow) -> bool {
    match *row {
        ConnectionRow::Client(id) => core.clients[id].is_waiting(),
        ConnectionRow::Carrier(_) | ConnectionRow::Server(_) => false,
    }
}
