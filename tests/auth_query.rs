//! Users whom the user list does not have: found by auth_query in a real PostgreSQL, or not, and
//! lied about by servers of our own.

mod support;

use std::thread;

use support::postgres::{APP, MD5, Role, SUPER};
use support::tool::Tool;
use support::{Client, Failure, FakeServer, Pooler, Postgres, Setup, eventually, fake, wire};

/// auth_user in these tests: the superuser, whom PostgreSQL trusts.
const READER: &str = SUPER.name;

/// A query that does not depend on what anybody has set.
const QUERY: &str = "select rolname, rolpassword from pg_catalog.pg_authid where rolname = $1";

/// Nobody but the console's admin is in the user list, and everyone is looked up.
fn setup() -> Setup {
    Setup::new()
        .set("auth_type", "scram-sha-256")
        .set("auth_file", "{dir}/only_admin.txt")
        .file("only_admin.txt", "\"admin\" \"admin-secret\"\n")
        .set("auth_user", READER)
}

fn login(pooler: &Pooler, user: &str, password: &str, database: &str) -> Result<Client, String> {
    let login = support::client::Login { user, password, database, parameters: &[] };
    Client::attempt(pooler.port, &login).map_err(|failure| failure.message().to_owned())
}

/// What a client is told that does not get in.
fn refusal(pooler: &Pooler, user: &str, password: &str) -> String {
    login(pooler, user, password, "app").err().unwrap_or_else(|| panic!("{user} gets in"))
}

/// Runs statements as superuser, past the pooler.
fn run(statements: &[&str]) {
    let mut session = Postgres::shared().session("app");
    for sql in statements {
        session.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

fn shown(pooler: &Pooler, user: &str, column: &str) -> usize {
    let cell = pooler.shown("show pools", "user", user, column);
    cell.map_or(0, |text| text.parse().expect("a count"))
}

#[test]
fn a_scram_secret_that_was_found_opens_the_pooler_and_the_server() {
    let pooler = setup().start();
    let mut client = login(&pooler, APP.name, APP.password, "app").expect("a good password");
    assert_eq!(client.one("select current_user || '@' || current_database()"), "app@app");
    assert_eq!(refusal(&pooler, APP.name, "wrong"), "SASL authentication failed");
    // One server that is looked up by, one for the user: the one never becomes the other.
    assert_eq!((shown(&pooler, READER, "sv_idle"), shown(&pooler, "app", "cl_active")), (1, 1));
    assert_eq!(shown(&pooler, READER, "cl_active"), 0);
}

#[test]
fn an_md5_secret_that_was_found_opens_the_pooler_and_the_server() {
    let pooler = setup().set("auth_type", "md5").start();
    let mut client = login(&pooler, MD5.name, MD5.password, "app").expect("a good password");
    assert_eq!(client.one("select current_user"), MD5.name);
    assert_eq!(refusal(&pooler, MD5.name, "wrong"), "password authentication failed");
}

#[test]
fn who_is_not_there_or_may_not_come_in_is_told_the_same() {
    run(&[
        "create role without_password login",
        "create role expired login password 'secret' valid until '2001-01-01'",
        "create role no_login nologin password 'secret'",
        "create role \"o'brien \"\" $1\" login password 'secret'",
    ]);
    let pooler = setup().start();
    let names = ["nobody", "without_password", "expired", "no_login", "'; drop role app; --", "$1"];
    for name in names {
        assert_eq!(refusal(&pooler, name, "secret"), "SASL authentication failed", "{name}");
    }
    for line in ["nobody@", "without_password@", "expired@", "no_login@"] {
        pooler.wait_log(&[&format!("app/{line}")]);
    }
    pooler.wait_log(&["login refused: no such user"]);
    pooler.wait_log(&["login refused: user has no password"]);
    login(&pooler, "o'brien \" $1", "secret", "app").expect("a name is no part of the query");
    // All of them were looked up by one server, which has outlived them.
    let lookups = pooler.log().matches(&format!("app/{READER}@")).count();
    assert_eq!(lookups, 1, "{}", pooler.log());
}

#[test]
fn a_login_by_trust_leaves_the_keys_of_the_secret_in_place() {
    let pooler = setup().start();
    let mut client = login(&pooler, APP.name, APP.password, "app").expect("a good password");
    assert_eq!(client.one("select current_user"), APP.name);
    pooler.rewrite(|setup| setup.set("auth_type", "trust"));
    pooler.console().query("reload").expect("a good configuration");
    let mut trusted = login(&pooler, APP.name, "", "app").expect("a user who exists");
    pooler.console().query("reconnect").expect("servers to be opened anew");
    assert_eq!(trusted.one("select current_user"), APP.name, "by the keys of the first");
}

#[test]
fn trust_is_for_users_who_exist() {
    let pooler = setup().set("auth_type", "trust").start();
    assert_eq!(refusal(&pooler, "nobody", ""), "\"trust\" authentication failed");
    login(&pooler, "app_trust", "", "app").expect("a user whom PostgreSQL trusts");
}

#[test]
fn the_user_list_goes_first_and_a_users_line_needs_a_secret_from_somewhere() {
    let setup = setup()
        .file("only_admin.txt", "\"admin\" \"admin-secret\"\n\"app\" \"another\"\n")
        .user("app_md5", "pool_mode=session")
        .set("auth_query", "select $1::text, 'found'")
        .set("auth_type", "plain");
    let pooler = setup.start();
    assert_eq!(refusal(&pooler, "app", "found"), "password authentication failed");
    assert_eq!(shown(&pooler, READER, "sv_idle"), 0, "nobody was looked up");
    // The secret is good; PostgreSQL wants another.
    assert!(refusal(&pooler, "app_md5", "found").contains("failed for user \"app_md5\""));
    pooler.rewrite(|setup| setup.set("auth_user", ""));
    pooler.console().query("reload").expect("a good configuration");
    assert_eq!(refusal(&pooler, "app_md5", "found"), "password authentication failed");
    pooler.wait_log(&["app/app_md5@"]);
}

#[test]
fn a_query_that_does_not_do_is_an_error_of_the_configuration() {
    let wrong = [
        ("selec", "syntax error"),
        ("select a, b from no_such_table where a = $1", "\"no_such_table\" does not exist"),
        ("select 1 where $1 = ''", "expected 2 columns from auth_query, not 1"),
        ("select $1::text, 'x', 'y'", "expected 2 columns from auth_query, not 3"),
        ("select $1::text, 'x' from generate_series(1, 100000)", "more than one row"),
        ("select 'super', 'x' where $1 <> ''", "the row is about another user"),
        ("select upper($1), 'x'", "the row is about another user"),
        ("select $1::text, repeat('x', 10000)", "row of 100"),
        ("select 1/0, $1", "division by zero"),
        (
            "create temporary table t as select $1::text",
            "expected 2 columns from auth_query, not 0",
        ),
        ("copy pg_class to stdout", "S-"),
        ("begin", "S-"),
    ];
    let pooler = setup().start();
    for (query, words) in wrong {
        pooler.rewrite(|setup| setup.set("auth_query", query));
        pooler.console().query("reload").expect("a good configuration");
        assert_eq!(refusal(&pooler, APP.name, APP.password), "bouncer config error", "{query}");
        pooler.wait_log(&[words]);
    }
    pooler.rewrite(|setup| setup.set("auth_query", QUERY));
    pooler.console().query("reload").expect("a good configuration");
    login(&pooler, APP.name, APP.password, "app").expect("a good query");
}

#[test]
fn a_new_password_counts_from_the_next_login_on() {
    run(&["create role changing login password 'first'"]);
    let pooler = setup().start();
    let mut old = login(&pooler, "changing", "first", "app").expect("the first password");
    old.one("select 1");
    run(&["alter role changing password 'second'"]);
    assert_eq!(refusal(&pooler, "changing", "first"), "SASL authentication failed");
    pooler.console().query("reconnect").expect("servers to be opened anew");
    let mut new = login(&pooler, "changing", "second", "app").expect("the second password");
    assert_eq!(new.one("select current_user"), "changing");
    assert_eq!(old.one("select current_user"), "changing", "served by the new secret");
    run(&["alter role changing nologin"]);
    assert_eq!(refusal(&pooler, "changing", "second"), "SASL authentication failed");
}

#[test]
fn query_user_and_database_may_be_the_databases_own() {
    run(&[
        "create role lookup_user login password 'lookup-secret'",
        "create table accounts (name text, secret text)",
        "insert into accounts values ('own_user', 'own-secret'), ('app', 'in-the-table')",
        "create function lookup(text, out text, out text) language sql security definer \
         set search_path = pg_catalog, pg_temp \
         begin atomic select name, secret from public.accounts where name = $1; end",
        "revoke all on function lookup from public",
        "grant execute on function lookup to lookup_user",
    ]);
    let port = Postgres::shared().port;
    let line = |rest: &str| format!("host=127.0.0.1 port={port} user=app_trust {rest}");
    let pooler = setup()
        .set("auth_type", "plain")
        .file("only_admin.txt", "\"admin\" \"admin-secret\"\n\"lookup_user\" \"lookup-secret\"\n")
        .database("app", &line(""))
        .database(
            "own",
            &line(
                "dbname=bench auth_user=lookup_user auth_dbname=app \
            auth_query='select * from lookup($1)'",
            ),
        )
        .database("nowhere", &line("dbname=app auth_dbname=missing"))
        .database("console", &line("dbname=app auth_dbname=pgbouncer"))
        .set("auth_query", QUERY)
        .start();
    let mut client = login(&pooler, "app", "in-the-table", "own").expect("the table's secret");
    assert_eq!(client.one("select current_user || current_database()"), "app_trustbench");
    login(&pooler, "own_user", "own-secret", "own").expect("a user of the table alone");
    assert!(login(&pooler, "own_user", "own-secret", "app").is_err());
    login(&pooler, APP.name, APP.password, "app").expect("PostgreSQL's own secret");
    assert_eq!(shown(&pooler, "lookup_user", "sv_idle"), 1);
    for (database, words) in [("nowhere", "\"missing\""), ("console", "reserved \"pgbouncer\"")] {
        pooler.rewrite(|setup| setup.database("*", "host=127.0.0.1 auth_user="));
        let error = login(&pooler, "app", "in-the-table", database).err();
        if database == "console" {
            assert_eq!(error.as_deref(), Some("bouncer config error"));
            pooler.wait_log(&[words]);
        } else {
            // `*` leads there, and the server says that there is no such database.
            assert!(error.expect("an error").contains(words));
        }
    }
    pooler.console().query("disable app").expect("a database that is there");
    let error = login(&pooler, "own_user", "own-secret", "own").err();
    assert_eq!(error.as_deref(), Some("authentication database \"app\" is disabled"));
}

#[test]
fn the_console_is_for_users_of_a_database_that_is_named() {
    let pooler = setup().set("admin_users", "admin,app").start();
    let refused = login(&pooler, APP.name, APP.password, "pgbouncer").err();
    assert_eq!(refused.as_deref(), Some("bouncer config error"));
    pooler.wait_log(&["cannot use the reserved \"pgbouncer\" database as an auth_dbname"]);
    pooler.rewrite(|setup| setup.set("auth_dbname", "app"));
    pooler.console().query("reload").expect("a good configuration");
    let mut admin = login(&pooler, APP.name, APP.password, "pgbouncer").expect("an admin");
    admin.query("show pools").expect("a command");
    let refused = login(&pooler, MD5.name, MD5.password, "pgbouncer").err();
    assert_eq!(refused.as_deref(), Some("SASL authentication failed"));
}

#[test]
fn what_clients_set_has_no_bearing_on_the_query() {
    run(&[
        "create schema evil",
        "create table evil.pg_authid as select 'mallory'::name as rolname, \
         'known'::text as rolpassword, null::timestamptz as rolvaliduntil, true as rolcanlogin",
        "grant usage on schema evil to public",
        "grant select on evil.pg_authid to public",
    ]);
    let pooler = setup()
        .set("auth_type", "plain")
        .set("track_extra_parameters", "search_path")
        .file("only_admin.txt", &format!("\"admin\" \"admin-secret\"\n\"{READER}\" \"known\"\n"))
        .start();
    let evil = "evil, pg_catalog";
    // As auth_user itself, on servers of the very same name.
    let mut reader = login(&pooler, READER, "known", "app").expect("a user of the list");
    reader.query(&format!("set search_path = {evil}")).expect("a setting");
    assert_eq!(reader.one("select rolname from pg_authid"), "mallory");
    let parameters = [("search_path", evil), ("options", "-c search_path=evil,pg_catalog")];
    for parameter in parameters {
        let login = support::client::Login {
            user: "mallory",
            password: "known",
            database: "app",
            parameters: &[parameter],
        };
        let failure = Client::attempt(pooler.port, &login).err().expect("mallory is nobody");
        assert_eq!(failure.message(), "password authentication failed");
    }
    // Both are one row for whoever looks at the pools.
    let rows = pooler.console().query("show pools").expect("a table").rows;
    let of_reader = rows.iter().filter(|row| row[1].as_deref() == Some(READER)).count();
    assert_eq!((of_reader, shown(&pooler, READER, "sv_idle")), (1, 2));
}

/// What an owner of a database puts in the way of whoever logs in there: all of it in a schema that
/// comes first in the path, and each piece would make the owner a superuser.
const TRAPS: &[&str] = &[
    "create schema evil",
    "create function evil.trap() returns void language plpgsql as $$ begin \
     if (select rolsuper from pg_catalog.pg_roles \
     where rolname operator(pg_catalog.=) current_user) then \
     execute 'alter role mallory superuser'; end if; end $$",
    "create function evil.now() returns timestamptz language sql as \
     'select evil.trap(); select pg_catalog.now()'",
    "create function evil.less(timestamptz, timestamptz) returns bool language sql as \
     'select evil.trap(); select $1 operator(pg_catalog.<) $2'",
    "create operator evil.< (function = evil.less, leftarg = timestamptz, rightarg = timestamptz)",
    "create function evil.same(name, name) returns bool language sql as \
     'select evil.trap(); select $1 operator(pg_catalog.=) $2'",
    "create operator evil.= (function = evil.same, leftarg = name, rightarg = name)",
    "create function evil.same(name, text) returns bool language sql as \
     'select evil.trap(); select $1 operator(pg_catalog.=) $2'",
    "create operator evil.= (function = evil.same, leftarg = name, rightarg = text)",
    "create function evil.user_search(text) returns table (name name, secret text) language sql as \
     'select evil.trap(); select ''app''::name, ''stolen''::text'",
    "create view evil.pg_authid as select evil.now() as rolvaliduntil, 'app'::name as rolname, \
     'stolen'::text as rolpassword, true as rolcanlogin",
    "create view evil.pg_shadow as select 'app'::name as usename, 'stolen'::text as passwd, \
     evil.now()",
    "create domain evil.text as pg_catalog.text check (evil.same(value::name, value::name))",
    "grant usage on schema evil to public",
    "alter database mallory set search_path = evil, pg_catalog, public",
];

#[test]
fn the_owner_of_a_database_decides_nothing_of_what_the_query_means() {
    run(&["create role mallory login password 'mallory'", "create database mallory owner mallory"]);
    let postgres = Postgres::shared();
    // As the reference's manual has it, with no schema named.
    let search = "create function public.user_search(text) returns table (name name, secret text) \
        language sql security definer as \
        'select usename, passwd::text from pg_shadow where usename = $1 and now() > ''epoch'' '";
    postgres.session("mallory").query(search).expect("a function");
    let login_of_owner = support::client::Login {
        user: "mallory",
        password: "mallory",
        database: "mallory",
        parameters: &[],
    };
    let mut owner = Client::attempt(postgres.port, &login_of_owner).expect("the owner");
    for sql in TRAPS {
        owner.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    let queries = [
        "",
        "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
         FROM pg_authid WHERE rolname=$1 AND rolcanlogin",
        "select rolname, rolpassword::text from pg_authid where rolname = $1::text",
        "select * from user_search($1)",
        "select * from public.user_search($1)",
    ];
    for query in queries {
        let pooler = match query {
            "" => setup().start(),
            query => setup().set("auth_query", query).start(),
        };
        let client = login(&pooler, APP.name, APP.password, "mallory");
        let rank = "select rolsuper from pg_roles where rolname = 'mallory'";
        assert_eq!(postgres.one(rank), "f", "{query}");
        let mut client = client.unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(client.one("show search_path"), "evil, pg_catalog, public", "as ever");
        let refused = login(&pooler, APP.name, "stolen", "mallory").err();
        assert_eq!(refused.as_deref(), Some("SASL authentication failed"), "{query}");
    }
}

#[test]
fn what_the_query_does_not_find_is_told_with_its_path() {
    run(&["alter role super set search_path = elsewhere"]);
    let pooler = setup().set("auth_query", "select * from finder($1)").start();
    assert_eq!(refusal(&pooler, APP.name, APP.password), "bouncer config error");
    run(&["alter role super reset search_path"]);
    pooler.wait_log(&["(it runs with search_path = pg_catalog, \"$user\", public"]);
}

#[test]
fn many_logins_of_one_user_share_a_few_lookups() {
    run(&[
        "create table lookups (user_name text)",
        "create function slow_lookup(text, out name, out text) language plpgsql as $$ begin \
         perform pg_advisory_lock_shared(4711); perform pg_advisory_unlock_shared(4711); \
         insert into lookups values ($1); \
         select rolname, rolpassword from pg_authid where rolname = $1 into $2, $3; end $$",
    ]);
    let mut gate = Postgres::shared().session("app");
    gate.query("select pg_advisory_lock(4711)").expect("the lock");
    let pooler = setup()
        .set("auth_query", "select * from slow_lookup($1)")
        .set("default_pool_size", "2")
        .set("max_client_conn", "300")
        .start();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let port = pooler.port;
            thread::spawn(move || {
                let mut client = Client::login(port, APP.name, APP.password, "app");
                client.one("select current_user")
            })
        })
        .collect();
    eventually("all clients to wait", || {
        let waiting = pooler.shown("show lists", "list", "used_clients", "items")?;
        (waiting.parse::<usize>().ok()? > clients.len()).then_some(())
    });
    gate.query("select pg_advisory_unlock(4711)").expect("the lock");
    for client in clients {
        assert_eq!(client.join().expect("a client that got in"), APP.name);
    }
    let count: usize = Postgres::shared().one("select count(*) from lookups").parse().unwrap();
    println!("{count} lookups for 200 clients");
    // Two that run, each of which may have had one more behind it.
    assert!((1..=5).contains(&count), "{count} lookups for 200 clients");
}

#[test]
fn a_lookup_that_hangs_holds_up_only_its_own_client() {
    run(&[
        "create sequence calls",
        "create function hangs_once(text, out name, out text) language plpgsql as $$ begin \
         if nextval('calls') = 1 then perform pg_sleep(600); end if; \
         select rolname, rolpassword from pg_authid where rolname = $1 into $2, $3; end $$",
    ]);
    let pooler = setup().set("auth_query", "select * from hangs_once($1)").start();
    let mut unlucky = pooler.connect();
    unlucky.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
    let sleeping = "select count(*) from pg_stat_activity \
        where wait_event = 'PgSleep' and query like '%hangs_once%'";
    eventually("the lookup to hang", || (Postgres::shared().one(sleeping) == "1").then_some(()));
    // The same is asked for, and at first waits for the answer.
    login(&pooler, APP.name, APP.password, "app").expect("a lookup of its own");
    assert_eq!(shown(&pooler, READER, "sv_active"), 1);
    let mut console = pooler.console();
    let failure = console.query("pause app timeout 1").expect_err("a lookup holds a server");
    let Failure::Error { detail, .. } = failure else { panic!("{failure:?}") };
    assert!(detail.contains("app/app@"), "{detail}");
}

#[test]
fn a_database_that_somebody_made_up_is_not_kept() {
    let pooler = setup().start();
    let told = login(&pooler, APP.name, APP.password, "made_up").err();
    assert_eq!(told.as_deref(), Some("database \"made_up\" does not exist"));
    let name = || pooler.shown("show databases", "name", "made_up", "name");
    eventually("it to be forgotten", || name().is_none().then_some(()));
    login(&pooler, APP.name, APP.password, "app").expect("a database that is there");
    pooler.console().query("reload").expect("a good configuration");
    assert!(pooler.shown("show databases", "name", "app", "name").is_some());
}

#[test]
fn many_users_at_once_are_looked_up_by_few_servers() {
    let create = "do $$ begin for i in 1..100 loop execute \
        format('create role many_%s login password %L', i, 'secret' || i); end loop; end $$";
    run(&["set password_encryption = 'md5'", create]);
    let pooler = setup()
        .set("auth_type", "md5")
        .set("default_pool_size", "3")
        .set("max_client_conn", "300")
        .database("app", &format!("host=127.0.0.1 port={} user=app_trust", Postgres::shared().port))
        .start();
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let (port, number) = (pooler.port, number % 100 + 1);
            thread::spawn(move || {
                let (user, password) = (format!("many_{number}"), format!("secret{number}"));
                Client::login(port, &user, &password, "app").one("select current_user")
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("a client that got in"), "app_trust");
    }
    assert!(shown(&pooler, READER, "sv_idle") <= 3);
}

#[test]
fn a_slow_lookup_holds_up_nobody_else_and_ends_with_its_client() {
    run(&["create role slow login password 'slow-secret'"]);
    let query = "select rolname, rolpassword from pg_authid, \
        pg_sleep(case $1 when 'slow' then 60 else 0 end) where rolname = $1";
    let pooler = setup()
        .set("auth_query", query)
        .set("auth_type", "plain")
        .set("client_login_timeout", "5")
        .start();
    let mut slow = pooler.connect();
    slow.send(&wire::startup(&[("user", "slow"), ("database", "app")]));
    eventually("the lookup to run", || (shown(&pooler, READER, "sv_active") == 1).then_some(()));
    login(&pooler, APP.name, APP.password, "app").expect("another server");
    let state = pooler.shown("show sockets", "user", "slow", "state");
    assert_eq!(state.as_deref(), Some("cl_login"));
    let error = slow.hear().expect("an error");
    assert_eq!(error.field('M').as_deref(), Some("client_login_timeout"));
    pooler.wait_log(&["auth_query: app/super has not answered"]);
    eventually("its server to be gone", || {
        (shown(&pooler, READER, "sv_active") == 0).then_some(())
    });
    // One that leaves of itself, with a word of goodbye.
    let mut slow = pooler.connect();
    slow.send(&wire::startup(&[("user", "slow"), ("database", "app")]));
    eventually("the lookup to run", || (shown(&pooler, READER, "sv_active") == 1).then_some(()));
    slow.say(b'X', &[]);
    assert!(slow.hear_to_the_end().is_empty(), "nothing is left to be said");
    eventually("its server to be gone", || {
        (shown(&pooler, READER, "sv_active") == 0).then_some(())
    });
    login(&pooler, APP.name, APP.password, "app").expect("a server that works");
}

#[test]
fn pause_holds_lookups_back_and_resume_lets_them_go() {
    let pooler = setup().start();
    let mut console = pooler.console();
    console.query("pause").expect("nothing is under way");
    let port = pooler.port;
    let client = thread::spawn(move || Client::login(port, APP.name, APP.password, "app"));
    eventually("the lookup to wait", || (shown(&pooler, READER, "cl_waiting") == 1).then_some(()));
    let state = pooler.shown("show clients", "user", APP.name, "state");
    assert_eq!(state.as_deref(), Some("waiting"));
    console.query("resume").expect("it was paused");
    assert_eq!(client.join().expect("a client").one("select 1"), "1");
}

#[test]
fn a_database_that_is_down_is_waited_for() {
    let port = support::host::free_port();
    let line = format!("host=127.0.0.1 port={port}");
    let pooler = setup()
        .database("app", &line)
        .set("client_login_timeout", "1")
        .set("server_login_retry", "1")
        .start();
    assert_eq!(refusal(&pooler, APP.name, APP.password), "client_login_timeout");
    pooler.wait_log(&["auth_query: Pool app/super has no server: last login error:"]);
}

#[test]
fn a_reader_who_is_refused_is_told_of() {
    let pooler = setup().set("auth_user", MD5.name).start();
    let refused = refusal(&pooler, APP.name, APP.password);
    assert_eq!(refused, "server login failed: wrong password type");
    pooler.wait_log(&["cannot do MD5 authentication"]);
    // Until it is tried again nobody waits.
    let cached = "server login has been failing, cached error: ";
    let refused = refusal(&pooler, APP.name, APP.password);
    assert!(refused.starts_with(cached) || refused.contains("wrong password type"), "{refused}");
}

#[test]
fn a_removed_database_ends_its_lookups() {
    let pooler = setup()
        .set("auth_query", "select $1::text, pg_sleep(60)::text")
        .database("app", &format!("host=127.0.0.1 port={}", Postgres::shared().port))
        .start();
    let mut client = pooler.connect();
    client.send(&wire::startup(&[("user", "slow"), ("database", "app")]));
    eventually("the lookup to run", || (shown(&pooler, READER, "sv_active") == 1).then_some(()));
    pooler.console().query("kill app").expect("a database that is there");
    let error = client.hear().expect("an error");
    assert_eq!(error.field('M').as_deref(), Some("database removed"));
}

#[test]
fn rules_that_refuse_look_nobody_up() {
    let rules = "host all app_md5 127.0.0.1/32 reject\nhost all app 127.0.0.1/32 scram-sha-256\n";
    let pooler = setup()
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .file("hba.conf", &format!("{rules}host pgbouncer admin 127.0.0.1/32 trust\n"))
        .start();
    assert_eq!(refusal(&pooler, MD5.name, MD5.password), "login rejected");
    assert_eq!(refusal(&pooler, "nobody", ""), "no authentication method is found");
    assert_eq!(shown(&pooler, READER, "sv_idle"), 0, "nobody was looked up");
    login(&pooler, APP.name, APP.password, "app").expect("a rule that lets in");
    assert_eq!(shown(&pooler, READER, "sv_idle"), 1);
}

#[test]
fn whom_the_system_vouches_for_must_be_known_all_the_same() {
    let user: &str = support::host::server_user().leak();
    let pooler = setup()
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .file("hba.conf", "local all all peer\nhost pgbouncer admin 127.0.0.1/32 trust\n")
        .database("app", &format!("host=127.0.0.1 port={} user=app_trust", Postgres::shared().port))
        .set("auth_query", "select $1::text, 'x' where $1 = 'somebody else'")
        .start();
    let role = Role { name: user, password: "", method: "" };
    let folder = pooler.folder.display().to_string();
    let psql = || {
        let tool = Tool::psql(pooler.port, &role, "app").args(["-c", "select current_user"]);
        tool.env("PGHOST", &folder).unprivileged()
    };
    let told = psql().fail();
    assert!(told.contains("unix socket login rejected"), "{told}");
    pooler.rewrite(|setup| setup.set("auth_query", "select $1::text, null"));
    pooler.console().query("reload").expect("a good configuration");
    assert_eq!(psql().run(), "app_trust");
}

/// The start of a right answer: parsed, bound, two columns.
fn opening() -> Vec<u8> {
    [wire::message(b'1', &[]), wire::message(b'2', &[]), wire::row_description(&["name", "secret"])]
        .concat()
}

fn answer(rows: &[&[&[u8]]]) -> Vec<u8> {
    let rows: Vec<u8> = rows.iter().flat_map(|row| wire::data_row(row)).collect();
    [opening(), rows, wire::message(b'C', b"SELECT 1\0"), wire::ready(b'I')].concat()
}

/// Answers auth_query with these bytes, each on a connection of its own, again and again.
fn liar(lies: Vec<Vec<u8>>) -> FakeServer {
    let next = std::sync::atomic::AtomicUsize::new(0);
    FakeServer::start(move |server| {
        if !matches!(fake::hear_startup(server), Ok(Some(_))) || !server.send(&fake::welcome()) {
            return;
        }
        while server.hear_until(|message| message.kind == b'S').is_ok() {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if !server.send(&lies[at % lies.len()]) {
                return;
            }
            if at % 3 == 2 {
                return;
            }
        }
    })
}

#[test]
fn a_server_that_lies_lets_nobody_in_and_does_no_harm() {
    let row = |values: &[&[u8]]| answer(&[values]);
    let null = |count: u16| {
        let mut body = count.to_be_bytes().to_vec();
        (0..count).for_each(|_| body.extend([255; 4]));
        wire::message(b'D', &body)
    };
    let long = [b'x'; 100_000];
    let lies = vec![
        row(&[b"super", b"password"]),
        row(&[b"joe", b"x", b"y"]),
        row(&[]),
        answer(&[&[b"joe", b"x"], &[b"joe", b"password"]]),
        row(&[b"joe", &long]),
        [opening(), null(1), wire::ready(b'I')].concat(),
        [opening(), null(3), wire::ready(b'I')].concat(),
        [opening(), wire::message(b'D', &[0, 2, 127, 255, 255, 255]), wire::ready(b'I')].concat(),
        [opening(), wire::message(b'D', &[0, 2, 255, 255, 255, 254]), wire::ready(b'I')].concat(),
        [opening(), vec![b'D', 255, 255, 255, 255]].concat(),
        [opening(), vec![b'D', 0, 0, 0, 0]].concat(),
        [opening(), vec![b'D', 127, 255, 255, 255]].concat(),
        opening(),
        wire::ready(b'I'),
        wire::ready(b'T'),
        [answer(&[]), answer(&[])].concat(),
        [opening(), wire::message(b'G', &[0, 0, 0])].concat(),
        [opening(), wire::message(b'H', &[0, 0, 0])].concat(),
        [opening(), wire::message(b'C', b"SELECT"), wire::ready(b'E')].concat(),
        wire::message(b'R', &[0, 0, 0, 0]),
        wire::error(&[]),
        wire::error(&[('S', "FATAL"), ('M', "no")]),
        [wire::error(&[('S', "ERROR"), ('M', "no")]), wire::ready(b'I')].concat(),
        vec![0; 50],
        vec![b'Z'; 50],
        vec![],
    ];
    let count = lies.len() * 3;
    let server = liar(lies);
    let pooler = setup()
        .set("auth_type", "plain")
        .file("only_admin.txt", "\"admin\" \"admin-secret\"\n\"app\" \"app-secret\"\n")
        .database("lies", &format!("host=127.0.0.1 port={}", server.port))
        .set("client_login_timeout", "1")
        .set("server_login_retry", "0")
        .start();
    let witness = support::Witness::start(pooler.port);
    for _ in 0..count {
        let told = login(&pooler, "joe", "password", "lies").err().expect("nobody gets in");
        let known = [
            "bad pkt header",
            "bouncer config error",
            "client_login_timeout",
            "password authentication failed",
            "server conn crashed?",
            "unknown pkt from server",
        ];
        assert!(known.contains(&told.as_str()), "{told:?}");
    }
    witness.finish();
    assert!(pooler.resident_kb() < 100_000, "{} kB", pooler.resident_kb());
}
