//! HBA files through the built program, beside a PostgreSQL that has the same file: whom each
//! lets in, from where, to what, and by which method.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use support::client::Login;
use support::postgres::{APP, Role, SUPER};
use support::tool::Tool;
use support::{Client, PATIENCE, Pooler, Postgres, Setup, eventually, host, wire};

/// What the first answer to a startup packet tells of the rule that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decision {
    Md5,
    NoRule,
    Password,
    Peer,
    Reject,
    ScramSha256,
    Trust,
}

/// A connection that asks to be let in.
#[derive(Clone, Copy, Debug)]
struct Visitor {
    is_local: bool,
    user: &'static str,
    database: &'static str,
    replication: Option<&'static str>,
}

/// Where a program listens.
struct Place {
    port: u16,
    socket: PathBuf,
}

impl Place {
    fn of_pooler(pooler: &Pooler) -> Place {
        Place { port: pooler.port, socket: pooler.folder.clone() }
    }

    fn of_postgres(postgres: &Postgres) -> Place {
        Place { port: postgres.port, socket: postgres.socket.clone() }
    }

    fn decides(&self, visitor: Visitor) -> Decision {
        if visitor.is_local {
            let path = self.socket.join(format!(".s.PGSQL.{}", self.port));
            let stream = UnixStream::connect(path).expect("somebody who listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
            decision(stream, visitor)
        } else {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("who listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
            decision(stream, visitor)
        }
    }
}

fn decision(mut stream: impl Read + Write, visitor: Visitor) -> Decision {
    let mut parameters = vec![("user", visitor.user), ("database", visitor.database)];
    parameters.extend(visitor.replication.map(|word| ("replication", word)));
    stream.write_all(&wire::startup(&parameters)).expect("an open socket");
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap_or_else(|e| panic!("{visitor:?}: {e}"));
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).expect("a whole message");
    let text = String::from_utf8_lossy(&body);
    match (head[0], &body[..4]) {
        (b'R', [0, 0, 0, 0]) => Decision::Trust,
        (b'R', [0, 0, 0, 3]) => Decision::Password,
        (b'R', [0, 0, 0, 5]) => Decision::Md5,
        (b'R', [0, 0, 0, 10]) => Decision::ScramSha256,
        _ if text.contains("login rejected") => match text.contains("unix socket") {
            true => Decision::Peer,
            false => Decision::Reject,
        },
        _ if text.contains("Peer authentication failed") => Decision::Peer,
        _ if text.contains("pg_hba.conf rejects") => Decision::Reject,
        _ if text.contains("no pg_hba.conf entry") => Decision::NoRule,
        _ if text.contains("no authentication method is found") => Decision::NoRule,
        _ => panic!("{visitor:?} is told {:?} {text:?}", head[0] as char),
    }
}

fn visitors() -> Vec<Visitor> {
    let mut all = Vec::new();
    for user in ["app", "app_md5", "replicator"] {
        for replication in [None, Some("database"), Some("true")] {
            for (is_local, database) in [(false, "app"), (false, "bench"), (true, "app")] {
                all.push(Visitor { is_local, user, database, replication });
            }
        }
    }
    all
}

/// Files that both programs read to the end. What each means is PostgreSQL's to say.
const FILES: &[&str] = &[
    // The rules for standbys and those for databases know nothing of each other.
    "host bench replicator 127.0.0.1/32 reject\nhost replication replicator 127.0.0.1/32 trust\n\
     host all all 127.0.0.1/32 scram-sha-256\n",
    "host replication all 127.0.0.1/32 trust\n",
    "host all all 127.0.0.1/32 trust\n",
    "local replication all trust\nlocal all all reject\n",
    "local all,replication replicator trust\nlocal app app scram-sha-256\n",
    "host bench,replication app 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust\n",
    "host \"replication\" all 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 reject\n",
    "host sameuser all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 reject\n",
    "host sameuser,replication all all trust\n",
    "host \"sameuser\" all all trust\nhost bench all all reject\n",
    "host app app_md5 127.0.0.1/32 md5\nhost all app_md5 127.0.0.1/32 reject\n",
    "host all app,app_md5 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
    "host all app, app_md5 127.0.0.0/8 scram-sha-256\nlocal all app,replicator trust\n",
    "host all \"app\" 127.0.0.1/32 trust\nhost all \"all\" 127.0.0.1/32 reject\n",
    "host all APP 127.0.0.1/32 trust\nhost ALL app 127.0.0.1/32 trust\n",
    "host all @users 127.0.0.1/32 trust\nhost @databases all 127.0.0.1/32 reject\n",
    "host all all 10.0.0.0/8 trust\nhost app all 127.0.0.1/32 reject\n",
    "host all all 127.0.0.1 255.255.255.255 trust\n",
    "host all all 126.0.0.0 254.0.0.0 trust\n",
    "host all all 127.0.0.0/31 trust\nhost all all 127.0.0.2/31 reject\n",
    "host all all 127.0.0.2/31 trust\nhost all all 0.0.0.0/0 reject\n",
    "host all all ::/0 trust\nhost all all ::ffff:127.0.0.1/128 trust\n",
    "hostssl all all 0.0.0.0/0 trust\nhostnossl app all 0.0.0.0/0 reject\n",
    "hostnossl all app all trust # a comment\n\n# host all all all trust\n\
     \thost\tall all\tall reject",
    "local all all peer\nhost all all all reject\n",
    "local all app trust\nlocal all all peer\n",
    "local app all reject\r\nlocal all all trust\r\nhost all all all trust\r\n",
    "",
];

/// Puts the file in force in a program, and waits until it is.
fn adopt(place: &Place, file: &Path, pid: u32, text: &str, number: usize) {
    // Asked for a password is only who the newest file names so.
    let marker: &str = format!("case_{number}").leak();
    host::write_file(file, format!("host all {marker} 127.0.0.1/32 password\n{text}"));
    host::send_signal(pid, "HUP");
    let visitor = Visitor { is_local: false, user: marker, database: "app", replication: None };
    eventually(&format!("the rules {text:?} to be in force"), || {
        (place.decides(visitor) == Decision::Password).then_some(())
    });
}

#[test]
fn the_same_file_means_the_same_as_in_postgresql() {
    let postgres = Postgres::start();
    let line = format!("host=127.0.0.1 port={} user={}", Postgres::shared().port, SUPER.name);
    let pooler = Setup::new()
        .database("*", &line)
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .file("hba.conf", "")
        .start();
    let folders = [pooler.folder.clone(), postgres.socket.join("data")];
    for folder in &folders {
        host::write_file(&folder.join("users"), "app\nreplicator\n");
        host::write_file(&folder.join("databases"), "bench,replication\n");
    }
    let files = [folders[0].join("hba.conf"), folders[1].join("pg_hba.conf")];
    assert!(fs::exists(&files[1]).is_ok_and(|exists| exists));
    let places = [Place::of_pooler(&pooler), Place::of_postgres(&postgres)];
    let mut seen = BTreeSet::new();
    for (number, text) in FILES.iter().enumerate() {
        adopt(&places[0], &files[0], pooler.pid, text, number);
        adopt(&places[1], &files[1], postgres.pid, text, number);
        for visitor in visitors() {
            let [ours, theirs] = [0, 1].map(|place| places[place].decides(visitor));
            assert_eq!(ours, theirs, "{visitor:?} by\n{text}");
            seen.insert(theirs);
        }
    }
    assert_eq!(seen.len(), 6, "the files decide in every way: {seen:?}");
}

#[test]
fn who_stands_in_users_only_comes_in_by_no_method() {
    const LIMITED: Role = Role { name: "limited", password: "", method: "" };
    let line = format!("host=127.0.0.1 port={} user={}", Postgres::shared().port, SUPER.name);
    let setup = Setup::empty()
        .database("app", &line)
        .user(LIMITED.name, "max_user_client_connections=2")
        .set("admin_users", "admin, limited")
        .set("auth_hba_file", "{dir}/hba.conf")
        .set("auth_ident_file", "{dir}/ident.conf")
        .file("ident.conf", "system {user} limited\n")
        .file("hba.conf", "local all all peer map=system\nhost all all 127.0.0.1/32 trust\n");
    for auth_type in ["trust", "hba"] {
        let pooler = setup.clone().set("auth_type", auth_type).start();
        let attempt = |database| {
            let Role { name: user, password, .. } = LIMITED;
            Client::attempt(pooler.port, &Login { user, password, database, parameters: &[] })
        };
        let through_socket = || {
            let tool = Tool::psql(pooler.port, &LIMITED, "app").args(["-c", "select 1"]);
            tool.env("PGHOST", &pooler.folder.display().to_string()).unprivileged()
        };
        for database in ["app", "pgbouncer"] {
            let refusal = attempt(database).err().expect("a refusal");
            assert_eq!(refusal.message(), "\"trust\" authentication failed", "{auth_type}");
        }
        let told = through_socket().fail();
        let words = match auth_type {
            "hba" => "unix socket login rejected",
            _ => "\"trust\" authentication failed",
        };
        assert!(told.contains(words), "{told}");
        // What the line says holds for the user once auth_file knows it.
        pooler.rewrite(|setup| setup.secret(LIMITED.name, ""));
        pooler.console().query("reload").expect("files that can be read");
        assert_eq!(through_socket().run(), "1");
        let clients = [attempt("app"), attempt("app")];
        assert!(clients.iter().all(Result::is_ok));
        let refusal = attempt("app").err().expect("a refusal");
        assert_eq!(refusal.message(), "client connections exceeded (max_user_client_connections)");
    }
}

/// Lines that PgBouncer 1.26.1 starts with, and leaves out.
const LEFT_OUT: &[&str] = &[
    "hostssl all all 0.0.0.0/0 md5 clientcert=1",
    "host all all 192.168.1.1/24 md5",
    "host all all 127.0.0.9/8 reject",
    "local all all peer map=nomap",
    "host all all db.example.org reject",
    "host all +ops 127.0.0.1/32 reject",
    "host samerole all 127.0.0.1/32 reject",
    "host all all samenet reject",
    "host all all 0.0.0.0/0 radius",
    "host all all 0.0.0.0/0 gss",
    "local all all ident",
    "hostgssenc all all 0.0.0.0/0 reject",
    "host all all 0/0 reject",
    "HOST all all all reject",
    "host all all ALL reject",
    "host all all all REJECT",
    "host all all all reject ; comment",
    "host all all 127.0.0.1/32,10.0.0.0/8 reject",
    "host all all \"all\" reject",
    "host all @missing all reject",
    "host all \"app all reject",
    "host all all",
    "include other.conf",
    "; an old habit",
];

/// A pooler by HBA rules; the files are `hba.conf` and `ident.conf`.
fn by_rules(rules: &str) -> Setup {
    let line = format!("host=127.0.0.1 port={} user={}", Postgres::shared().port, SUPER.name);
    Setup::empty()
        .database("app", &line)
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .set("auth_ident_file", "{dir}/ident.conf")
        .file("ident.conf", "system {user} app\n")
        .file("hba.conf", rules)
}

/// What the log says of a line of a file.
fn errors_of(pooler: &Pooler, file: &str) -> Vec<String> {
    let log = pooler.log();
    let words = format!("{file}: line ");
    let errors = log.lines().filter(|line| line.contains(" ERROR ") && line.contains(&words));
    errors.map(|line| line.split(&words).nth(1).unwrap_or_default().to_owned()).collect()
}

const APP_BY_TCP: Visitor =
    Visitor { is_local: false, user: "app", database: "app", replication: None };

#[test]
fn a_line_that_cannot_be_read_is_left_out_and_told() {
    for whole in [LEFT_OUT, &LEFT_OUT[..1]] {
        let rules = format!("{}\nhost all all 127.0.0.1/32 trust\n", whole.join("\n"));
        let pooler = by_rules(&rules).start();
        let told = errors_of(&pooler, "hba.conf");
        assert_eq!(told.len(), whole.len(), "{told:?}");
        for (number, line) in told.iter().enumerate() {
            assert!(line.starts_with(&format!("{}: ", number + 1)), "{line}");
        }
        assert_eq!(Place::of_pooler(&pooler).decides(APP_BY_TCP), Decision::Trust);
    }
    let (status, log) =
        by_rules("host all all 127.0.0.1/32 trust\njunk\n").set("strict_files", "1").refused();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("hba.conf: line 2: "), "{log}");
}

#[test]
fn a_reload_puts_what_can_be_read_in_force() {
    let pooler = by_rules("host all all 127.0.0.1/32 trust\n").start();
    let place = Place::of_pooler(&pooler);
    assert_eq!(place.decides(APP_BY_TCP), Decision::Trust);
    let odd = "host all +ops 10.0.0.0/8 md5\n";
    let rest = "host pgbouncer all 127.0.0.1/32 trust\n";
    let reload = |rules: &str, strict: &str| {
        pooler.rewrite(|setup| setup.file("hba.conf", rules).set("strict_files", strict));
        pooler.console().query("reload")
    };
    reload(&format!("host all app all reject\n{odd}{rest}"), "0").expect("nothing that refuses");
    assert_eq!(place.decides(APP_BY_TCP), Decision::Reject);
    assert_eq!(errors_of(&pooler, "hba.conf").len(), 1);
    let refused = reload(&format!("host all app all trust\n{odd}{rest}"), "1").expect_err("strict");
    assert!(refused.message().contains("RELOAD failed"), "{refused:?}");
    assert_eq!(place.decides(APP_BY_TCP), Decision::Reject, "the old rules stay");
    // A file that is not there leaves those that were known.
    std::fs::remove_file(pooler.folder.join("hba.conf")).expect("a file");
    pooler.rewrite(|setup| setup.without_file("hba.conf").set("strict_files", "0"));
    pooler.console().query("reload").expect("nothing that refuses");
    assert_eq!(place.decides(APP_BY_TCP), Decision::Reject);
    pooler.wait_log(&["could not open auth_hba_file "]);
}

#[test]
fn a_missing_file_matters_where_it_is_used() {
    let by_socket = Visitor { is_local: true, ..APP_BY_TCP };
    let missing = |rules| by_rules(rules).set("auth_ident_file", "{dir}/none");
    let pooler = missing("local all all trust\n").start();
    assert!(!pooler.log().contains("ERROR"), "{}", pooler.log());
    let pooler = missing("local all all trust map=system\nlocal all all reject\n").start();
    assert_eq!(errors_of(&pooler, "hba.conf").len(), 1);
    assert!(pooler.log().contains("could not open auth_ident_file "), "{}", pooler.log());
    assert_eq!(Place::of_pooler(&pooler).decides(by_socket), Decision::Reject);
    let pooler = by_rules("").set("auth_hba_file", "{dir}/none").start();
    assert_eq!(Place::of_pooler(&pooler).decides(by_socket), Decision::NoRule);
    let pooler = by_rules("").set("auth_hba_file", "").start();
    assert_eq!(Place::of_pooler(&pooler).decides(by_socket), Decision::NoRule);
    // An odd line of the ident map is left out like one of the rules.
    let ident = "system\nsystem {user} app extra\nsystem {user} app # good\n";
    let pooler = by_rules("local all all peer map=system\n").file("ident.conf", ident).start();
    assert_eq!(errors_of(&pooler, "ident.conf").len(), 2);
    let tool = Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]);
    let socket = pooler.folder.display().to_string();
    assert_eq!(tool.env("PGHOST", &socket).unprivileged().run(), "1");
}
