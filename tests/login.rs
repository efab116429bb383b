//! What a login says and gets, byte for byte: versions and options, startup parameters, the
//! welcome, ways to show a password, and that nothing secret comes out again.

mod support;

use support::client::{Failure, Login};
use support::postgres::{APP, Role, SUPER};
use support::tool::Tool;
use support::wire::{self, PROTOCOL_3_0};
use support::{Client, Message, Pooler, Postgres, Setup, fake, pooler, scram};

/// The messages that answer a startup packet of `app`, up to ReadyForQuery or an error.
fn greeting(pooler: &Pooler, database: &str, minor: u32, more: &[(&str, &str)]) -> Vec<Message> {
    let mut wire = pooler.connect();
    let user = if database == "pgbouncer" { pooler::ADMIN.name } else { APP.name };
    let parameters = [&[("user", user), ("database", database)], more].concat();
    wire.send(&wire::startup_by(minor, &parameters));
    wire.hear_until(|m| matches!(m.kind, b'Z' | b'E')).expect("an answer")
}

fn kinds(messages: &[Message]) -> String {
    let mut kinds: Vec<char> = messages.iter().map(|m| char::from(m.kind)).collect();
    kinds.dedup();
    kinds.into_iter().collect()
}

/// The error that answers a startup packet, with its HINT.
fn refusal(pooler: &Pooler, parameters: &[(&str, &str)]) -> (String, String) {
    let mut wire = pooler.connect();
    wire.send(&wire::startup(parameters));
    let messages = wire.hear_until(|m| matches!(m.kind, b'Z' | b'E')).expect("an answer");
    let last = messages.last().expect("an answer");
    let field = |code| last.field(code).unwrap_or_default();
    assert_eq!(last.kind, b'E', "{parameters:?} is accepted");
    assert_eq!((field('S'), field('V')), ("FATAL".into(), "FATAL".into()));
    assert_eq!(wire.hear_bytes_to_the_end(), Some(vec![]), "nothing follows");
    (field('M'), field('H'))
}

#[test]
fn a_password_is_the_same_however_it_was_typed() {
    let postgres = Postgres::shared();
    postgres.one("create role prepared login password 'IX\u{e9}'; select 1");
    // A Roman nine, and an accent of its own.
    let setup = Setup::new().set("auth_type", "scram-sha-256");
    let pooler = setup.secret("prepared", "\u{2168}e\u{301}").start();
    for password in ["IX\u{e9}", "\u{2168}\u{e9}", "I\u{ad}Xe\u{301}"] {
        let role = Role { name: "prepared", password, method: "" };
        let tool = Tool::psql(pooler.port, &role, "app").args(["-c", "select current_user"]);
        assert_eq!(tool.run(), "prepared", "{password:?}");
    }
    let role = Role { name: "prepared", password: "ix\u{e9}", method: "" };
    Tool::psql(pooler.port, &role, "app").args(["-c", "select 1"]).fail();
}

#[test]
fn the_log_has_the_reason_before_the_client_hears_it() {
    let pooler = Setup::empty().database("app", "host=127.0.0.1 port=1").start();
    for number in 0..50 {
        let database = format!("absent{number}");
        let login = Login { user: APP.name, password: "", database: &database, parameters: &[] };
        let attempt = Client::attempt(pooler.port, &login);
        let Err(error) = attempt else { panic!("there is no such database") };
        assert!(error.message().contains("no such database"), "{error:?}");
        assert!(pooler.log().contains(&format!("no such database: {database}")), "{database}");
    }
}

/// PostgreSQL would take the beginning of such a name for a database.
#[test]
fn a_database_name_longer_than_postgresql_has_is_none() {
    let pooler = Setup::new().start();
    let name = "d".repeat(64);
    let (message, _) = refusal(&pooler, &[("user", APP.name), ("database", &name)]);
    assert_eq!(message, format!("no such database: {}", &name[..63]));
    let name = "u".repeat(128);
    assert_eq!(refusal(&pooler, &[("user", &name)]).0, "username too long");
    pooler.wait_log(&[&format!("login failed: db={name} user={name}")]);
}

#[test]
fn what_is_not_spoken_is_negotiated_away_once() {
    let pooler = Setup::new().start();
    for database in ["app", "pgbouncer"] {
        let options: [&[(&str, &str)]; 3] =
            [&[], &[("_pq_.one", "1")], &[("_pq_.two", "x"), ("_pq_.one", "")]];
        for minor in [0, 1, 2, 9999, 65_535] {
            for options in options {
                let greeting = greeting(&pooler, database, minor, options);
                let what = format!("{database} by 3.{minor} with {options:?}");
                let is_spoken = minor <= 2 && options.is_empty();
                assert_eq!(kinds(&greeting), if is_spoken { "RSKZ" } else { "vRSKZ" }, "{what}");
                if !is_spoken {
                    let head = [PROTOCOL_3_0 + minor.min(2), options.len() as u32];
                    let mut body = head.map(u32::to_be_bytes).concat();
                    options.iter().for_each(|(name, _)| body.extend(format!("{name}\0").bytes()));
                    assert_eq!(greeting[0].body, body, "{what}");
                }
                let key = greeting.iter().find(|m| m.kind == b'K').expect("a key");
                assert_eq!(key.body.len(), if minor < 2 { 8 } else { 36 }, "{what}");
            }
        }
    }
}

#[test]
fn the_welcome_is_the_servers_parameters_ours_a_key_and_ready() {
    let fake = support::FakeServer::start(|wire| fake::serve(wire, |_| None));
    let line = format!("host=127.0.0.1 port={}", fake.port);
    let pooler = Setup::new().database("fake", &line).set("pool_mode", "session").start();
    let sent = [("application_name", "it's us"), ("client_encoding", "utf8")];
    let greeting = greeting(&pooler, "fake", 0, &sent);
    assert_eq!(kinds(&greeting), "RSKZ");
    let told: Vec<(String, String)> = greeting
        .iter()
        .filter(|m| m.kind == b'S')
        .filter_map(|m| m.text().split_once('\0').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let value = |name: &str| {
        let found: Vec<&str> =
            told.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect();
        assert!(found.len() <= 1, "{name} is told twice: {told:?}");
        found.first().copied()
    };
    assert_eq!(value("pgbouncer.version"), Some("1.26.1"));
    assert_eq!(value("pgbouncer.pool_mode"), Some("session"));
    assert_eq!(value("pgbouncer.max_prepared_statements"), Some("200"));
    assert_eq!(value("application_name"), Some("it's us"));
    // As the client has spelled it.
    assert_eq!(value("client_encoding"), Some("utf8"));
    for (name, of_server) in fake::PARAMETERS {
        if !sent.iter().any(|(set, _)| set == name) {
            assert_eq!(value(name), Some(*of_server), "{name}");
        }
    }
    assert_eq!(greeting.last().map(|m| m.body.as_slice()), Some(&b"I"[..]));
}

#[test]
fn startup_parameters_are_tracked_ignored_or_refused_by_name() {
    let setup = Setup::new().set("track_extra_parameters", "lock_timeout");
    let pooler = setup.set("ignore_startup_parameters", "extra_float_digits, search_path").start();
    let server_has = |parameters: &[(&str, &str)], name: &str| {
        let login = Login { user: APP.name, password: "", database: "app", parameters };
        let mut client = Client::attempt(pooler.port, &login)
            .unwrap_or_else(|e| panic!("{parameters:?} is refused: {e:?}"));
        client.one(&format!("show {name}"))
    };
    for (name, value) in [
        ("timezone", "Asia/Tokyo"),
        ("DATESTYLE", "SQL, DMY"),
        ("intervalstyle", "iso_8601"),
        ("default_transaction_read_only", "on"),
        ("lock_timeout", "7s"),
    ] {
        assert_eq!(server_has(&[(name, value)], name), value);
        let options = format!("-c {name}={}", value.replace(' ', "\\ "));
        assert_eq!(server_has(&[("options", &options)], name), value, "{options}");
    }
    // Of two the later counts.
    let both = [("options", "-cTimeZone=UTC --timezone=Asia/Tokyo"), ("TimeZone", "Asia/Kabul")];
    assert_eq!(server_has(&both, "timezone"), "Asia/Kabul");
    assert_eq!(server_has(&both[..1], "timezone"), "Asia/Tokyo");
    let plain = server_has(&[], "search_path");
    let ignored = [("extra_float_digits", "3"), ("search_path", "elsewhere"), ("options", "")];
    assert_eq!(server_has(&ignored, "search_path"), plain, "ignored though it could be tracked");
    let options = [("options", "-c extra_float_digits=3  --search_path=x")];
    assert_eq!(server_has(&options, "search_path"), plain);

    let app = [("user", APP.name), ("database", "app")];
    let hint = "ignore_startup_parameters";
    for (name, value) in [("statement_timeout", "1"), ("role", "x"), ("no such", "")] {
        let (message, told) = refusal(&pooler, &[&app[..], &[(name, value)]].concat());
        assert_eq!(message, format!("unsupported startup parameter: {name}"));
        assert!(told.contains(hint), "{told}");
    }
    for (options, name) in [("-c role=x", "role"), ("--user=x", "user"), ("-c =1", "")] {
        let (message, told) = refusal(&pooler, &[&app[..], &[("options", options)]].concat());
        assert_eq!(message, format!("unsupported startup parameter in options: {name}"));
        assert!(told.contains(hint), "{told}");
    }
    for options in ["-d 5", "-c timezone", "--", "timezone=UTC", "-e", "-c", "-x timezone=UTC"] {
        let (message, _) = refusal(&pooler, &[&app[..], &[("options", options)]].concat());
        let only = "only '-c config=val' and '--config=val' are allowed";
        assert_eq!(message, format!("unsupported options startup parameter: {only}"), "{options}");
    }
}

#[test]
fn names_have_a_least_and_a_greatest_length() {
    let long = |length: usize| "u".repeat(length);
    let pooler = Setup::new().secret(&long(127), "secret").start();
    for parameters in [vec![("database", "app")], vec![("user", ""), ("database", "app")]] {
        assert_eq!(refusal(&pooler, &parameters).0, "no username supplied");
    }
    let user = long(128);
    assert_eq!(refusal(&pooler, &[("user", &user), ("database", "app")]).0, "username too long");
    // One byte less is a name like others: PostgreSQL does not know it.
    let user = long(127);
    assert_ne!(refusal(&pooler, &[("user", &user), ("database", "app")]).0, "username too long");
    // A database that is not named is the user's.
    for parameters in [vec![("user", APP.name)], vec![("user", APP.name), ("database", "")]] {
        let mut wire = pooler.connect();
        wire.send(&wire::startup(&parameters));
        wire.hear_until_ready().expect("a welcome");
        wire.send(&wire::query("select current_database()"));
        let answer = wire.hear_until_ready().expect("an answer");
        let row = answer.iter().find(|m| m.kind == b'D').expect("a row");
        assert_eq!(row.values(), [Some(APP.name.to_owned())]);
    }
}

/// What a login fails with.
fn failure(pooler: &Pooler, user: &str, password: &str) -> Option<(String, String)> {
    let login = Login { user, password, database: "app", parameters: &[] };
    match Client::attempt(pooler.port, &login) {
        Ok(_) => None,
        Err(Failure::Error { code, message, .. }) => Some((code, message)),
        Err(gone) => panic!("{user}: {gone:?}"),
    }
}

#[test]
fn each_way_to_log_in_lets_in_whom_it_should_and_tells_others_the_same() {
    let told = |message: &str| Some(("08P01".to_owned(), message.to_owned()));
    let nobody = Setup::new().set("auth_type", "trust").start();
    assert_eq!(failure(&nobody, APP.name, "whatever"), None);
    assert_eq!(failure(&nobody, "nobody", ""), told("\"trust\" authentication failed"));
    let md5 = scram::md5_secret("hashed", "hash-secret");
    let keys = scram::scram_secret("keys-secret", b"a pinch of salt.", 4096);
    for (auth_type, message) in [
        ("plain", "password authentication failed"),
        ("md5", "password authentication failed"),
        ("scram-sha-256", "SASL authentication failed"),
    ] {
        // With a server that trusts, whatever secret the pooler has.
        let line = format!("host=127.0.0.1 port={} user=app_trust", Postgres::shared().port);
        let setup = Setup::new().set("auth_type", auth_type).database("app", &line);
        let pooler = setup.secret("hashed", &md5).secret("stored", &keys).start();
        assert_eq!(failure(&pooler, APP.name, APP.password), None, "{auth_type}");
        assert_eq!(failure(&pooler, "stored", "keys-secret"), None, "{auth_type}");
        let may_hash = auth_type != "scram-sha-256";
        assert_eq!(failure(&pooler, "hashed", "hash-secret").is_none(), may_hash, "{auth_type}");
        for user in [APP.name, "hashed", "nobody"] {
            assert_eq!(failure(&pooler, user, "wrong"), told(message), "{auth_type}, {user}");
        }
        // With md5, a SCRAM secret is asked for by SCRAM. What is stored is not what is known.
        let of_stored = if auth_type == "md5" { "SASL authentication failed" } else { message };
        assert_eq!(failure(&pooler, "stored", "wrong"), told(of_stored), "{auth_type}");
        assert_eq!(failure(&pooler, "stored", &keys), told(of_stored), "{auth_type}");
        assert_eq!(failure(&pooler, "hashed", &md5), told(message), "{auth_type}");
        let no_database = Login { database: "x", ..login(APP.name, "wrong") };
        let error = Client::attempt(pooler.port, &no_database).err().expect("a wrong password");
        assert_eq!(error.message(), message, "{auth_type}: nothing is told of databases");
    }
}

fn login<'a>(user: &'a str, password: &'a str) -> Login<'a> {
    Login { user, password, database: "app", parameters: &[] }
}

#[test]
fn any_lets_in_everybody_as_the_user_of_the_line() {
    let line = format!("host=127.0.0.1 port={} user=app_trust", Postgres::shared().port);
    let setup = Setup::new().set("auth_type", "any").database("app", &line);
    let pooler = setup.start();
    for user in ["nobody", APP.name] {
        let mut client = Client::login(pooler.port, user, "", "app");
        assert_eq!(client.one("select current_user"), "app_trust");
    }
}

#[test]
fn any_lets_in_nobody_where_the_line_names_no_user() {
    let line = format!("host=127.0.0.1 port={}", Postgres::shared().port);
    let forced = format!("{line} user=app_trust");
    let pooler = Setup::empty()
        .set("auth_type", "any")
        .database("app", &line)
        .database("bench", &forced)
        .database("*", &line)
        .start();
    for user in ["nobody", APP.name, SUPER.name] {
        for database in ["app", "postgres", "none"] {
            for parameters in [&[][..], &[("replication", "true")], &[("replication", "database")]]
            {
                let login = Login { user, password: "", database, parameters };
                let refusal = Client::attempt(pooler.port, &login).err();
                let refusal = refusal.unwrap_or_else(|| panic!("{user} is let into {database}"));
                assert_eq!(refusal.message(), "bouncer config error");
            }
        }
        assert_eq!(
            Client::login(pooler.port, user, "", "bench").one("select current_user"),
            "app_trust"
        );
    }
    pooler.wait_log(&["auth_type=any requires forced user"]);
    // The line of `*` may name one, too.
    pooler.rewrite(|setup| setup.database("*", &forced));
    pooler.console().query("reload").expect("a configuration that can be read");
    let mut client = Client::login(pooler.port, "nobody", "", "postgres");
    assert_eq!(client.one("select current_user"), "app_trust");
}

#[test]
fn passwords_may_be_as_long_as_a_message_of_them() {
    const LONGEST: usize = 65_535;
    let line = format!("host=127.0.0.1 port={} user=app_trust", Postgres::shared().port);
    for auth_type in ["plain", "md5", "scram-sha-256"] {
        let setup = Setup::new().set("auth_type", auth_type).database("app", &line);
        let long = "l".repeat(LONGEST);
        let pooler = setup.secret("longwinded", &long).start();
        assert_eq!(failure(&pooler, "longwinded", &long), None, "{auth_type}");
        assert!(failure(&pooler, "longwinded", &long[1..]).is_some(), "{auth_type}");
    }
}

#[test]
fn nothing_secret_is_logged_or_shown() {
    let keys = scram::scram_secret("keys-secret", b"a pinch of salt.", 4096);
    let line = |rest: &str| format!("host=127.0.0.1 port={} {rest}", Postgres::shared().port);
    for auth_type in ["plain", "md5", "scram-sha-256"] {
        let pooler = Setup::new()
            .set("auth_type", auth_type)
            .set("verbose", "3")
            .set("stats_users", "stored")
            .secret("stored", &keys)
            .database("app", &line(""))
            .database("forced", &line("user=app_plain password=plain-secret dbname=app"))
            .start();
        for (user, password, database) in [
            (APP.name, APP.password, "app"),
            (APP.name, "wrong-secret", "app"),
            (APP.name, APP.password, "forced"),
            ("stored", "keys-secret", "app"),
            ("nobody", "nobodys-secret", "app"),
            (pooler::ADMIN.name, pooler::ADMIN.password, "pgbouncer"),
        ] {
            let login = Login { user, password, database, parameters: &[] };
            if let Ok(mut client) = Client::attempt(pooler.port, &login) {
                let _ = client.query("select 1");
            }
        }
        let mut console = pooler.console();
        console.query("RELOAD").expect("a good file");
        let mut text = String::new();
        for show in [
            "CLIENTS",
            "SERVERS",
            "SOCKETS",
            "USERS",
            "CONFIG",
            "DATABASES",
            "POOLS",
            "EVENTS",
            "ERRORS",
            "LATENCY",
            "MEM",
            "LISTS",
            "DNS_HOSTS",
        ] {
            let answer = console.query(&format!("SHOW {show}")).expect(show);
            text += &format!("{:?}", answer.rows);
        }
        text += &pooler.log();
        let secrets = keys.split(['$', ':']).filter(|part| part.len() > 20);
        for secret in secrets.chain(["-secret", "p=", "v="]) {
            assert!(!text.contains(secret), "{auth_type}: {secret} comes out in\n{text}");
        }
    }
}

/// What the pooler would hand to a process that it started: nothing but its standard streams.
#[test]
fn every_descriptor_is_closed_on_exec() {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let setup = Setup::new().set("logfile", "{dir}/pgbouncer.log").set("pidfile", "{dir}/pid");
    let pooler = setup.in_view().start();
    let mut client = pooler.client();
    client.query("begin").expect("a transaction, and with it a server");
    let folder = pooler.folder.display().to_string();
    let _socket =
        std::os::unix::net::UnixStream::connect(format!("{folder}/.s.PGSQL.{}", pooler.port));
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("/proc/{}/fd", pooler.pid)).expect("a process") {
        let number = entry.expect("a descriptor").file_name().into_string().expect("a number");
        let target = |of: &str| std::fs::read_link(format!("/proc/{of}/fd/{number}")).ok();
        let theirs = target(&pooler.pid.to_string());
        // What the tests were given, they have passed on.
        if ["0", "1", "2"].contains(&number.as_str()) || theirs == target("self") {
            continue;
        }
        let info = support::host::proc_file(pooler.pid, &format!("fdinfo/{number}"));
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        let Some(flags) = flags else { continue };
        assert!(flags & CLOSE_ON_EXEC != 0, "{number} is {theirs:?}, with flags {flags:o}");
        seen += 1;
    }
    // Poll, waker, signals, log, pid file, listeners, client and server.
    assert!(seen >= 8, "only {seen} descriptors were looked at");
}

#[test]
fn without_files_that_say_so_nobody_gets_in() {
    let ini = "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
               listen_port = {port}\nunix_socket_dir = {dir}\n";
    let pooler = Setup::empty().ini(ini).start();
    for user in ["admin", "postgres", "pgbouncer", "app", "root"] {
        for (password, database) in [("", "pgbouncer"), (user, "pgbouncer"), (user, "app")] {
            let login = Login { user, password, database, parameters: &[] };
            let error = Client::attempt(pooler.port, &login).err().expect("nobody is known");
            assert_eq!(error.message(), "password authentication failed", "{user} {database}");
        }
    }
}

/// Drivers that are told to leave before they have come send Terminate for a startup packet, and
/// take any word for an error of theirs.
#[test]
fn a_message_in_place_of_the_startup_packet_is_not_answered() {
    let pooler = Setup::new().start();
    for first in [wire::message(b'X', b""), wire::message(b'S', b""), wire::query("select 1")] {
        let mut wire = pooler.connect();
        wire.send(&first[..first.len() - 1]);
        wire.send(&first[first.len() - 1..]);
        let answer = wire.hear_bytes_to_the_end().expect("the end");
        assert_eq!(answer, b"", "behind {}", first.escape_ascii());
    }
    pooler.wait_log(&["closing because: bad packet (age=0s)"]);
    assert!(!pooler.log().contains("pooler error"), "{}", pooler.log());
}

/// The words of errors are what tools match.
#[test]
fn what_is_refused_is_told_in_the_words_that_tools_know() {
    let line = format!("host=127.0.0.1 port={}", Postgres::shared().port);
    let pooler = Setup::empty().database("app", &line).set("auth_type", "plain").start();
    pooler.console().query("DISABLE app").expect("a known database");
    let login = wire::startup(&[("user", APP.name), ("database", "app")]);
    let password = wire::message(b'p', format!("{}\0", APP.password).as_bytes());
    let elsewhere = wire::startup(&[("user", APP.name), ("database", "nowhere")]);
    let beside = wire::startup(&[("user", APP.name), ("database", "pgbouncer")]);
    let cases: [(Vec<Vec<u8>>, &str); 9] = [
        (vec![wire::packet(0x0002_0000, &[0; 280])], "old V2 protocol not supported"),
        (vec![wire::packet(0x0009_0000, &[0; 4])], "bad packet header: '0000000c00090000'"),
        (vec![wire::message(b'p', b"x\0")], "client password pkt before startup packet"),
        (vec![login.clone(), wire::message(b'p', b"\0")], "empty password returned by client"),
        (vec![login.clone(), password.clone()], "database \"app\" is disabled"),
        (vec![elsewhere.clone(), password.clone()], "no such database: nowhere"),
        (vec![elsewhere, wire::message(b'p', b"x\0")], "password authentication failed"),
        (vec![beside, password], "not allowed"),
        (
            vec![wire::packet(PROTOCOL_3_0, b"user\0app")],
            "invalid startup packet layout: expected terminator as last byte",
        ),
    ];
    for (packets, expected) in cases {
        let mut wire = pooler.connect();
        for (number, packet) in packets.iter().enumerate() {
            if number > 0 && packet[0] == b'p' {
                assert_eq!(wire.hear().expect("a question").kind, b'R', "{expected}");
            }
            wire.send(packet);
        }
        let last = wire.hear_to_the_end().pop().expect(expected);
        assert_eq!(last.field('M').as_deref(), Some(expected));
        assert_eq!(last.field('S').as_deref(), Some("FATAL"), "{expected}");
    }
}

#[test]
fn failed_logins_are_logged_in_the_words_that_filters_look_for() {
    let setup = Setup::empty().database("app", "host=127.0.0.1 port=1");
    let pooler = setup.set("auth_type", "scram-sha-256").set("auth_user", "").start();
    let attempt = |user, password, database| {
        let login = Login { user, password, database, parameters: &[] };
        assert!(Client::attempt(pooler.port, &login).is_err(), "{login:?}");
    };
    attempt(APP.name, "wrong", "app");
    attempt("nobody", "wrong", "app");
    attempt(APP.name, APP.password, "absent");
    let log = pooler.log();
    let has = |line: &str| {
        let (prefix, text) = line.split_once('@').expect("a prefix and a text");
        let is_it = |l: &str| l.contains(&format!(": {prefix}@127.0.0.1:")) && l.contains(text);
        assert!(log.lines().any(is_it), "{line}\n{log}");
    };
    has("app/app@ password authentication failed");
    has("app/app@ login refused: wrong password");
    has("(nodb)/(nouser)@ no such user: nobody");
    has("(nodb)/nobody@ login attempt: db=app user=nobody ");
    has("(nodb)/nobody@ password authentication failed");
    has("(nodb)/nobody@ closing because: SASL authentication failed");
    has("(nodb)/app@ login attempt: db=absent user=app ");
    has("(nodb)/app@ login failed: db=absent user=app");
    has("(nodb)/app@ closing because: no such database: absent");
}
