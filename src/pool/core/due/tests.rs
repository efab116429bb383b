//! Each time limit: off at 0, counted from its moment, and only in the state that it is for.

use super::*;
use crate::pool::ids::{ClientId, PeerId, ServerId};
use crate::pool::records::client::Standing;
use crate::pool::records::handshake::ServerHandshake;
use crate::pool::records::listening::{Awaits, Listening, Listens};
use crate::pool::records::lookup::Lookup;
use crate::pool::records::scene::{NOW, Scene};
use crate::pool::records::server::Rescue;
use crate::pool::records::site::Health;
use crate::wire::kind::{Back, Front};

const LIMIT: Duration = Duration::from_secs(7);

// The moments of the records, no two of them the same.
const CLIENT_CAME: Moment = Moment(1_000_000_000);
const CLIENT_ASKED: Moment = Moment(2_000_000_000);
const CLIENT_MOVED: Moment = Moment(3_000_000_000);
const QUERY_START: Moment = Moment(4_000_000_000);
const CHANNELS_ASKED: Moment = Moment(5_000_000_000);
const SERVER_CAME: Moment = Moment(6_000_000_000);
const SERVER_USED: Moment = Moment(7_000_000_000);
const SERVER_MOVED: Moment = Moment(8_000_000_000);
const XACT_START: Moment = Moment(9_000_000_000);
const CARRIER_CAME: Moment = Moment(10_000_000_000);
const POOL_USED: Moment = Moment(11_000_000_000);
const DATABASE_USED: Moment = Moment(12_000_000_000);

/// A client and a server of a pool without time limits, and what a cancel request comes by.
struct Stage {
    scene: Scene,
    user_lines: Vec<UserLine>,
    pool: PoolId,
    client: Client,
    server: Server,
    carrier: Carrier,
}

impl Stage {
    fn new() -> Stage {
        let (mut scene, database, pool) = Scene::new();
        for limit in LIMITS {
            (limit.set)(&mut scene.settings, Duration::ZERO);
        }
        scene.settings.server_check_query = "".into();
        scene.pools[pool].used_at = POOL_USED;
        scene.databases[database].idle_since = DATABASE_USED;
        let mut client = scene.member(pool, Standing::Waiting);
        (client.connected, client.requested) = (CLIENT_CAME, CLIENT_ASKED);
        (client.since, client.query_start) = (CLIENT_MOVED, QUERY_START);
        let site = scene.site();
        let target = ServerId::from_bits(1);
        let carrier = Carrier::new(3, CARRIER_CAME, Errand::Server { target, pool }, site);
        let server = Server::new(2, NOW, pool, site, ServerState::Idle);
        let user_lines = Vec::new();
        Stage { scene, user_lines, pool, client, server, carrier }.with_server(ServerState::Idle)
    }

    /// With a server in this state.
    fn with_server(mut self, state: ServerState) -> Stage {
        let mut server = Server::new(2, SERVER_CAME, self.pool, self.server.site, state);
        (server.requested, server.since) = (SERVER_USED, SERVER_MOVED);
        server.xact_start = XACT_START;
        self.server = server;
        self
    }

    /// With a client that has this server, whose query is answered or not, in a transaction or not.
    fn with_query(self, in_transaction: bool, is_answered: bool) -> Stage {
        let mut stage = self.with_server(ServerState::Active { client: ClientId::from_bits(1) });
        let replies = &mut stage.server.replies;
        let status = if in_transaction { b'T' } else { b'I' };
        replies.sent(Front::Query);
        for (kind, status) in [(Back::CommandComplete, 0), (Back::ReadyForQuery, status)] {
            assert!(replies.received(kind, status).is_ok());
        }
        if !is_answered {
            replies.sent(Front::Query);
        }
        stage
    }

    fn with_hold(mut self, hold: Option<Hold>) -> Stage {
        self.client.hold = hold;
        self
    }

    fn with_channels(mut self) -> Stage {
        let awaits = Some(Awaits { since: CHANNELS_ASKED, before: Default::default() });
        let listens = Listens { awaits, ..Listens::default() };
        self.client.rare.get_or_insert_default().listens = Some(Box::new(listens));
        self
    }

    fn times(&self) -> DueTimes<'_> {
        let Scene { settings, clients, servers, pools, sites, .. } = &self.scene;
        let (limits, user_lines) = (self.scene.limits(), &self.user_lines);
        DueTimes { settings, limits, user_lines, clients, servers, pools, sites }
    }
}

/// A time limit: its setting, the moment that it is counted from, and when its time is over in the
/// state that it is for.
struct TimeLimit {
    name: &'static str,
    set: fn(&mut Settings, Duration),
    since: Moment,
    due: fn(Stage) -> Moment,
}

macro_rules! limits {
    ($($limit:ident from $since:ident: $due:expr;)*) => {
        &[$(TimeLimit {
            name: stringify!($limit),
            set: |settings, limit| settings.$limit = limit,
            since: $since,
            due: $due,
        },)*]
    };
}

/// What a setting says of a client, a server, a carrier, a pool or a database.
const LIMITS: &[TimeLimit] = limits! {
    client_login_timeout from CLIENT_CAME: |stage| stage.times().login_due(&stage.client);
    client_login_timeout from CLIENT_CAME:
        |stage| of(stage.times().welcoming_dues(&stage.client), Reason::ClientLoginTimeoutDown);
    cancel_wait_timeout from CLIENT_MOVED: |stage| stage.times().cancel_client_due(&stage.client);
    cancel_wait_timeout from CARRIER_CAME: |stage| stage.times().carrier_due(&stage.carrier);
    query_wait_timeout from CLIENT_CAME:
        |stage| stage.times().lookup_due(&stage.client, &stage.scene.pools[stage.pool]);
    query_wait_timeout from CLIENT_MOVED:
        |stage| of(stage.times().welcoming_dues(&stage.client), Reason::QueryWaitTimeout);
    query_wait_timeout from CLIENT_ASKED: |stage| {
        of(stage.times().waiting_dues(&stage.client), WaitDue::Close(Reason::QueryWaitTimeout))
    };
    query_timeout from CLIENT_MOVED:
        |stage| of(stage.times().welcoming_dues(&stage.client), Reason::QueryTimeoutWaiting);
    query_timeout from CLIENT_ASKED: |stage| {
        of(stage.times().waiting_dues(&stage.client), WaitDue::Close(Reason::QueryTimeoutWaiting))
    };
    query_wait_notify from CLIENT_ASKED: |stage| {
        let stage = stage.with_hold(Some(Hold::Server { is_told: false }));
        of(stage.times().waiting_dues(&stage.client), WaitDue::Notify)
    };
    server_connect_timeout from CHANNELS_ASKED: |stage| {
        let stage = stage.with_channels();
        stage.times().channels_due(&stage.client)
    };
    query_timeout from QUERY_START:
        |stage| active(stage.with_query(false, false), Reason::QueryTimeout);
    idle_transaction_timeout from QUERY_START:
        |stage| active(stage.with_query(true, true), Reason::IdleTransactionTimeout);
    transaction_timeout from XACT_START:
        |stage| active(stage.with_query(true, true), Reason::TransactionTimeout);
    client_idle_timeout from QUERY_START:
        |stage| active(stage.with_query(false, true), Reason::ClientIdleTimeout);
    client_idle_timeout from CLIENT_MOVED: |stage| stage.times().idle_client_due(&stage.client);
    server_connect_timeout from SERVER_CAME: |stage| {
        let fail = LoginDue::Fail(Reason::ConnectTimeout);
        of(stage.times().server_login_dues(&stage.server), fail)
    };
    server_connect_timeout from CARRIER_CAME: |stage| stage.times().carrier_due(&stage.carrier);
    server_abandon_timeout from SERVER_MOVED: |stage| {
        let rescue = Test::Abandoned(Rescue::RollingBack);
        let stage = stage.with_server(ServerState::Tested(rescue));
        stage.times().abandoned_due(&stage.server)
    };
    server_idle_timeout from SERVER_USED: |stage| {
        let close = IdleDue::Close(Reason::ServerIdleTimeout);
        of(stage.times().idle_server_dues(&stage.server, true), close)
    };
    pool_idle_timeout from POOL_USED:
        |stage| stage.times().deserted_due(&stage.scene.pools[stage.pool]);
    autodb_idle_timeout from DATABASE_USED: |stage| {
        let database = stage.scene.pools[stage.pool].database;
        stage.times().auto_database_due(&stage.scene.databases[database])
    };
};

/// When one of these falls due.
fn of<What: PartialEq>(dues: impl IntoIterator<Item = Due<What>>, what: What) -> Moment {
    let found = dues.into_iter().find(|due| due.what == what);
    found.map(|due| due.at).expect("this falls due, if only never")
}

fn active(stage: Stage, reason: Reason) -> Moment {
    of(stage.times().active_dues(&stage.server, &stage.client), reason)
}

/// Those of these that fall due at all.
fn ever<What>(dues: impl IntoIterator<Item = Due<What>>) -> Vec<What> {
    dues.into_iter().filter(|due| due.at != NEVER).map(|due| due.what).collect()
}

/// A stage on which every limit is set.
fn limited() -> Stage {
    let mut stage = Stage::new();
    LIMITS.iter().for_each(|limit| (limit.set)(&mut stage.scene.settings, LIMIT));
    stage
}

fn some_dues() -> [Due<char>; 3] {
    [
        Due::after(NOW, Duration::from_secs(3), 'a'),
        Due::after(NOW, Duration::from_secs(1), 'b'),
        Due::after(NOW, Duration::from_secs(2), 'c'),
    ]
}

#[test]
fn the_sweep_finds_what_stands_first_and_the_calendar_what_comes_first() {
    assert_eq!(past(some_dues(), NOW), None);
    assert_eq!(past(some_dues(), NOW + Duration::from_secs(1)), Some('b'));
    assert_eq!(past(some_dues(), NOW + Duration::from_secs(3)), Some('a'), "by their order");
    assert_eq!(first(some_dues()), NOW + Duration::from_secs(1));
}

#[test]
fn no_limit_and_an_unmet_condition_never_fall_due() {
    let unlimited = || Due::after(NOW, Duration::ZERO, 'a');
    let unmet = || Due::after(NOW, Duration::from_secs(1), 'b').only_if(false);
    assert_eq!(past([unlimited(), unmet()], Moment(u64::MAX - 1)), None);
    assert_eq!(first([unlimited(), unmet()]), NEVER);
    assert_eq!(first::<char>([]), NEVER);
}

#[test]
fn each_limit_is_off_at_0_and_else_counted_from_its_moment() {
    for limit in LIMITS {
        assert_eq!((limit.due)(Stage::new()), NEVER, "{} of 0", limit.name);
        let mut stage = Stage::new();
        (limit.set)(&mut stage.scene.settings, LIMIT);
        assert_eq!((limit.due)(stage), limit.since + LIMIT, "{}", limit.name);
    }
}

#[test]
fn what_falls_due_for_a_client_with_a_server_depends_on_its_query() {
    use Reason::{ClientIdleTimeout, IdleTransactionTimeout, QueryTimeout, TransactionTimeout};
    let cases: [(bool, bool, &[Reason]); 4] = [
        (false, true, &[ClientIdleTimeout]),
        (false, false, &[QueryTimeout, TransactionTimeout]),
        (true, true, &[IdleTransactionTimeout, TransactionTimeout]),
        (true, false, &[QueryTimeout, TransactionTimeout]),
    ];
    for (in_transaction, is_answered, reasons) in cases {
        let stage = limited().with_query(in_transaction, is_answered);
        let dues = ever(stage.times().active_dues(&stage.server, &stage.client));
        assert_eq!(dues, reasons, "in a transaction {in_transaction}, answered {is_answered}");
    }
}

#[test]
fn a_client_is_told_once_that_it_waits_for_a_server() {
    for (hold, is_due) in [
        (Some(Hold::Server { is_told: false }), true),
        (Some(Hold::Server { is_told: true }), false),
        (Some(Hold::Parameters), false),
        (None, false),
    ] {
        let stage = limited().with_hold(hold);
        let notify = of(stage.times().waiting_dues(&stage.client), WaitDue::Notify);
        assert_eq!(notify != NEVER, is_due, "{hold:?}");
    }
}

#[test]
fn a_users_own_query_timeout_counts_from_its_first_query_on() {
    let mut stage = limited();
    let user = stage.scene.pools[stage.pool].user;
    let own = Duration::from_secs(2);
    stage.scene.users[user].line.get_or_insert_default().query_timeout = Some(own);
    let waiting = WaitDue::Close(Reason::QueryTimeoutWaiting);
    let welcoming = Reason::QueryTimeoutWaiting;
    let times = stage.times();
    assert_eq!(of(times.waiting_dues(&stage.client), waiting), CLIENT_ASKED + own);
    assert_eq!(of(times.welcoming_dues(&stage.client), welcoming), CLIENT_MOVED + LIMIT);
}

#[test]
fn channels_are_waited_for_as_long_as_the_shorter_of_two_limits_says() {
    let seconds = Duration::from_secs;
    for (wait, connect, limit) in [(0, 5, 5), (5, 0, 5), (3, 5, 3), (5, 3, 3), (0, 0, 0)] {
        let mut stage = Stage::new().with_channels();
        stage.scene.settings.query_wait_timeout = seconds(wait);
        stage.scene.settings.server_connect_timeout = seconds(connect);
        let due = stage.times().channels_due(&stage.client);
        let expected = if limit == 0 { NEVER } else { CHANNELS_ASKED + seconds(limit) };
        assert_eq!(due, expected, "{wait}, {connect}");
    }
    let stage = limited();
    assert_eq!(stage.times().channels_due(&stage.client), NEVER, "it waits for none");
}

#[test]
fn a_carrier_lasts_as_long_as_its_client_waits_and_to_a_server_as_a_connection_may_take() {
    let seconds = Duration::from_secs;
    for (wait, connect, to_server, to_peer) in [(3, 5, 5, 3), (5, 3, 5, 5), (0, 5, 5, 5)] {
        let mut stage = Stage::new();
        stage.scene.settings.cancel_wait_timeout = seconds(wait);
        stage.scene.settings.server_connect_timeout = seconds(connect);
        let due = stage.times().carrier_due(&stage.carrier);
        assert_eq!(due, CARRIER_CAME + seconds(to_server), "{wait}, {connect}");
        stage.carrier.errand = Errand::Peer { peer: PeerId::from_bits(1), key: Box::default() };
        let due = stage.times().carrier_due(&stage.carrier);
        assert_eq!(due, CARRIER_CAME + seconds(to_peer), "{wait}, {connect}, to a peer");
    }
}

#[test]
fn a_host_that_is_thought_well_of_is_slow_after_a_while() {
    let mut stage = Stage::new();
    let slow = |stage: &Stage| of(stage.times().server_login_dues(&stage.server), LoginDue::Slow);
    assert_eq!(slow(&stage), SERVER_CAME + SLOW_LOGIN);
    stage.scene.sites[stage.server.site].health = Health::Slow;
    assert_eq!(slow(&stage), NEVER);
}

#[test]
fn only_a_server_that_was_left_in_the_middle_is_abandoned() {
    let client = ClientId::from_bits(1);
    for state in [
        ServerState::Active { client },
        ServerState::BeingCanceled,
        ServerState::Between,
        ServerState::Closing,
        ServerState::Idle,
        ServerState::Login(Box::new(ServerHandshake::new(None))),
        ServerState::Lookup(Box::new(Lookup::new("joe", "", client, NOW))),
        ServerState::Tested(Test::Reset),
        ServerState::Used,
    ] {
        let stage = limited().with_server(state);
        let due = stage.times().abandoned_due(&stage.server);
        assert_eq!(due, NEVER, "{:?}", stage.server.state());
    }
}

#[test]
fn a_server_that_nobody_uses_is_closed_where_it_is_spare_and_tested_where_it_is_idle() {
    let close = || IdleDue::Close(Reason::ServerIdleTimeout);
    for (state, is_spare, dues) in [
        (ServerState::Idle, true, vec![close(), IdleDue::Test]),
        (ServerState::Idle, false, vec![IdleDue::Test]),
        (ServerState::Used, true, vec![close()]),
        (ServerState::Used, false, vec![]),
    ] {
        let mut stage = limited().with_server(state);
        stage.scene.settings.server_check_query = "select 1".into();
        let is = ever(stage.times().idle_server_dues(&stage.server, is_spare));
        assert_eq!(is, dues, "{:?}, spare {is_spare}", stage.server.state());
    }
}

#[test]
fn a_server_is_tested_after_a_delay_of_0_too_but_never_without_a_query() {
    let mut stage = Stage::new();
    stage.scene.settings.server_check_delay = LIMIT;
    assert_eq!(stage.times().test_due(&stage.server), NEVER);
    stage.scene.settings.server_check_query = "select 1".into();
    assert_eq!(stage.times().test_due(&stage.server), SERVER_USED + LIMIT);
    stage.scene.settings.server_check_delay = Duration::ZERO;
    assert_eq!(stage.times().test_due(&stage.server), SERVER_USED);
}

#[test]
fn the_end_of_a_lifetime_falls_due_whether_the_server_is_spare_or_not() {
    let mut stage = Stage::new();
    for (lifetime, end) in [(LIMIT, SERVER_CAME + LIMIT), (Duration::ZERO, NEVER)] {
        stage.server.end_of_life = stage.server.end_of(lifetime);
        for is_spare in [false, true] {
            let dues = stage.times().idle_server_dues(&stage.server, is_spare);
            assert_eq!(of(dues, IdleDue::Close(Reason::ServerLifetime)), end, "{lifetime:?}");
        }
    }
}

#[test]
fn a_period_of_statistics_lasts_a_second_at_least() {
    let mut stage = Stage::new();
    for (period, lasts) in [(0, 1), (1, 1), (60, 60)] {
        stage.scene.settings.stats_period = Duration::from_secs(period);
        assert_eq!(stage.times().stats_due(NOW), NOW + Duration::from_secs(lasts), "{period}");
    }
}

#[test]
fn a_pool_at_rest_is_looked_at_when_the_first_of_its_records_is_due() {
    let mut stage = Stage::new();
    let (pool, user) = (stage.pool, stage.scene.pools[stage.pool].user);
    assert_eq!(stage.times().first_due_at_rest(pool), NEVER);
    stage.scene.settings.pool_idle_timeout = LIMIT;
    assert_eq!(stage.times().first_due_at_rest(pool), POOL_USED + LIMIT, "nobody is there");

    let server = stage.scene.idle(pool);
    stage.scene.servers[server].requested = SERVER_USED;
    assert_eq!(stage.times().first_due_at_rest(pool), NEVER, "a server is there");
    stage.scene.settings.server_idle_timeout = LIMIT;
    assert_eq!(stage.times().first_due_at_rest(pool), SERVER_USED + LIMIT);
    stage.scene.settings.min_pool_size = 1;
    assert_eq!(stage.times().first_due_at_rest(pool), NEVER, "the pool keeps its server");

    let mut client = stage.scene.member(pool, Standing::Idle);
    client.since = CLIENT_MOVED;
    let client = stage.scene.clients.insert(client);
    let Scene { clients, pools, .. } = &mut stage.scene;
    pools[pool].settled.push_back(clients, client);
    assert_eq!(stage.times().first_due_at_rest(pool), NEVER, "a client may be idle for ever");
    let line = UserLine { client_idle_timeout: Some(LIMIT), ..UserLine::default() };
    stage.scene.users[user].line = Some(line.clone());
    stage.user_lines = vec![line];
    assert_eq!(stage.times().first_due_at_rest(pool), CLIENT_MOVED + LIMIT, "a limit of its own");
    stage.scene.settings.min_pool_size = 0;
    stage.scene.servers[server].requested = CLIENT_ASKED;
    assert_eq!(stage.times().first_due_at_rest(pool), CLIENT_ASKED + LIMIT, "the server is first");

    let mut used = Server::new(4, NOW, pool, stage.scene.site(), ServerState::Used);
    used.requested = CLIENT_CAME;
    let used = stage.scene.servers.insert(used);
    let Scene { servers, pools, .. } = &mut stage.scene;
    pools[pool].used.push_back(servers, used);
    assert_eq!(stage.times().first_due_at_rest(pool), CLIENT_CAME + LIMIT, "or one to be tested");
}

#[test]
fn a_shared_connection_to_which_clients_listen_is_never_too_long_idle() {
    let mut stage = limited();
    let pool = stage.pool;
    let server = stage.scene.idle(pool);
    stage.scene.servers[server].requested = SERVER_USED;
    let mut listening = Listening::default();
    stage.scene.pools[pool].listening = Some(Box::default());
    assert_eq!(stage.times().first_due_at_rest(pool), SERVER_USED + LIMIT, "nobody listens");
    let channels = [b"news".as_slice().into()].into();
    listening.change(ClientId::from_bits(1), &Default::default(), &channels);
    stage.scene.pools[pool].listening = Some(Box::new(listening));
    assert_eq!(stage.times().first_due_at_rest(pool), NEVER);
}

#[test]
fn idle_clients_are_looked_at_where_any_of_them_may_time_out() {
    let mut stage = Stage::new();
    let line = |limit| UserLine { client_idle_timeout: limit, ..UserLine::default() };
    stage.user_lines = vec![line(None), line(Some(Duration::ZERO))];
    assert!(!stage.times().may_time_out_idle_clients());
    stage.user_lines.push(line(Some(LIMIT)));
    assert!(stage.times().may_time_out_idle_clients());
    stage.user_lines.clear();
    stage.scene.settings.client_idle_timeout = LIMIT;
    assert!(stage.times().may_time_out_idle_clients());
}
