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
use support::postgres::{Role, SUPER};
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
