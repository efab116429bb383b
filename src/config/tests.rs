//! Tests of the configuration as a whole.

use std::time::Duration;

use super::*;

fn good(text: &str) -> Config {
    load_text("t.ini", text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

fn errors(text: &str) -> Vec<String> {
    let errors = load_text("t.ini", text).expect_err(text);
    errors.iter().map(Diagnostic::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(Diagnostic::to_string).collect()
}

fn database(line: &str) -> DatabaseLine {
    good(&format!("[pgbouncer]\n[databases]\n{line}")).databases.remove(0)
}

#[test]
fn the_guides_file_loads_without_a_warning() {
    let path = "/etc/pgbouncer/pgbouncer.ini";
    let text = include_str!("../../tests/guide/pgbouncer.ini");
    let config = load_text(path, text).expect("the guide's file is good");
    assert_eq!(config.warnings, []);
    assert_eq!(config.file, path);
    assert_eq!(config.settings.conffile.as_deref(), Some(path));
    let names: Vec<_> = config.databases.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["plannerate_production", "plannerate_staging"]);
    assert_eq!(config.databases[0].targets(""), [(Host::Tcp("127.0.0.1".to_owned()), 5432)]);
    assert_eq!(config.settings.auth_type, AuthType::ScramSha256);
    assert_eq!(config.settings.pool_mode, PoolMode::Transaction);
    assert_eq!(
        *config.settings.stats_users,
        ["replicator", "plannerate_prod", "plannerate_staging"]
    );
    assert_eq!(config.settings.server_tls_sslmode, TlsMode::Disable);
    assert_eq!(config.settings.reserve_pool_timeout, Duration::from_secs(3));
}

#[test]
fn the_last_of_two_values_counts() {
    assert_eq!(good("[pgbouncer]\npkt_buf=100\npkt_buf=200").settings.pkt_buf, 200);
}

#[test]
fn a_second_main_section_sets_back_the_first_and_says_so() {
    let text =
        "[pgbouncer]\npkt_buf=100\n[databases]\na=\n[pgbouncer]\nadmin_users=x\n[databases]\nb=";
    let config = good(text);
    assert_eq!(config.settings.pkt_buf, 4096);
    assert_eq!(config.settings.conffile.as_deref(), Some("t.ini"));
    assert_eq!(config.databases.len(), 2);
    assert_eq!(
        warnings(text),
        ["t.ini:5: section [pgbouncer] again: what the one before set is back at its default"]
    );
}

#[test]
fn a_line_that_names_a_database_again_takes_the_place_of_the_earlier() {
    let config = good("[pgbouncer]\n[databases]\na=pool_size=3\nb=\na=host=x");
    let names: Vec<_> = config.databases.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.databases[0].pool_size, None);
}

#[test]
fn every_mistake_is_told_with_file_line_key_and_the_nearest_name() {
    let text = "early = 1\n[pgbouncer]\ndefault_pool_size = x\nlog_conections = 1\nword\n\
        [database]\na=\n\
                [databases]\npgbouncer = host=x\nb = hots=x\nc = host=\nd = pool_mode=x\n\
                [users]\nu = password=x\n[peers]\n0 = host=x\n1 = port=3";
    assert_eq!(
        errors(text),
        [
            "t.ini:1: early: value without section, expected [pgbouncer] above",
            "t.ini:3: default_pool_size: expected a whole number, not \"x\"",
            "t.ini:4: log_conections: unknown parameter, did you mean log_connections?",
            "t.ini:5: syntax error, expected \"=\" behind \"word\"",
            "t.ini:6: unknown section [database], did you mean [databases]?",
            "t.ini:9: pgbouncer: the name \"pgbouncer\" is reserved for the console",
            "t.ini:10: b: hots: unknown parameter, did you mean host?",
            "t.ini:11: c: expected a value for host",
            "t.ini:12: d: pool_mode: expected one of session, transaction, statement",
            "t.ini:14: u: password: unknown parameter",
            "t.ini:16: 0: expected an id from 1 to 65535",
            "t.ini:17: 1: host: expected a value, this key is not optional",
        ]
    );
}

#[test]
fn a_file_without_the_main_section_is_refused() {
    for text in ["", "; nothing\n", "[databases]\na=\n"] {
        assert_eq!(errors(text), ["t.ini: main section [pgbouncer] missing"], "{text:?}");
    }
    let errors = load("none", &mut NoFiles).expect_err("there is no file");
    assert_eq!(errors.len(), 1, "{errors:?}");
}

struct NoFiles;

impl FileReader for NoFiles {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, std::io::Error> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn names_have_a_longest_length() {
    let line = |section: &str, length| format!("[pgbouncer]\n[{section}]\n{}=", "x".repeat(length));
    assert!(load_text("t.ini", &line("databases", 63)).is_ok());
    assert!(load_text("t.ini", &line("databases", 64)).is_err());
    assert_eq!(good(&line("users", 127)).users.len(), 1);
    let config = good(&line("users", 128));
    assert!(config.users.is_empty());
    let told = config.warnings[0].to_string();
    let why = ": expected a name of at most 127 bytes; the line is left out";
    assert!(told.starts_with("t.ini:3: xxx") && told.ends_with(why), "{told}");
}

#[test]
fn a_line_without_a_name_is_left_out_where_the_reference_makes_a_record_of_it() {
    let config = good("[pgbouncer]\n[databases]\n= host=x\na = host='y', port=1\n[users]\n=\n");
    assert_eq!((config.databases.len(), config.users.len()), (1, 0));
    assert_eq!(config.databases[0].targets(""), [(Host::Tcp("y".to_owned()), 1)]);
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "t.ini:3: expected a name before \"=\"; the line is left out",
        "t.ini:4: a: expected a space behind the closing quote of host; a character is left out",
        "t.ini:6: expected a name before \"=\"; the line is left out",
    ];
    assert_eq!(told, expected);
    assert!(config.warnings.iter().all(|warning| warning.problem.is_mistake()));
    for section in ["pgbouncer", "peers"] {
        assert!(load_text("t.ini", &format!("[pgbouncer]\n[{section}]\n=x\n")).is_err());
    }
    // The line for all other databases is looked at when one of them is asked for.
    let config = good("[pgbouncer]\n[databases]\n* = pool_mode=x\na = host=y\n");
    assert_eq!((config.databases.len(), config.warnings.len()), (1, 1));
    assert!(config.warnings[0].to_string().ends_with("; the line is left out"));
}

#[test]
fn what_a_zero_byte_has_cut_off_is_told_with_what_is_missing() {
    let errors = load_text("t.ini", "[databases]\n\0[pgbouncer]\n").expect_err("no settings");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "t.ini: main section [pgbouncer] missing",
        "t.ini:2: a zero byte; nothing behind it is read",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_database_has_every_key() {
    let line = database(
        "a = host=x,/run port=1,2 dbname=d user=u password='p w' auth_user=au \
         auth_query='select 1' auth_dbname=ad pool_size=1 min_pool_size=1 reserve_pool_size=0 \
         connect_query='select ''q''' \
         pool_mode=Statement load_balance_hosts=disable max_db_connections=4 \
         max_db_client_connections=5 server_lifetime=6 query_wait_timeout=0 client_encoding=utf8 \
         datestyle=iso timezone=utc application_name=n sslmode=verify-full sslrootcert=/r \
         sslcert=/c sslkey=/k sslnegotiation=direct channel_binding=require \
         server_auth_methods=md5,none session_state=pin session_states=pin,error shared_listen=1 \
         pool_modes='session, transaction'",
    );
    let targets = [(Host::Tcp("x".to_owned()), 1), (Host::Unix("/run".to_owned()), 2)];
    assert_eq!(line.targets("/tmp"), targets);
    assert_eq!(line.password.as_ref().map(HiddenText::expose), Some(b"p w".to_vec()));
    assert_eq!(line.connect_query.as_deref(), Some("select 'q'"));
    assert_eq!(line.pool_mode, Some(PoolMode::Statement));
    assert_eq!(line.load_balance_hosts, Some(LoadBalanceHosts::Disable));
    assert_eq!(line.reserve_pool_size, Some(0));
    assert_eq!(line.query_wait_timeout, Some(Duration::ZERO));
    for row in DatabaseLine::rows() {
        assert_ne!(line.show(row.name).as_deref(), row.default, "{} is set", row.name);
    }
    let plain = database("a =");
    assert_eq!(plain.targets("/tmp"), [(Host::Unix("/tmp".to_owned()), 5432)]);
    assert_eq!(database("a = reserve_pool=3").reserve_pool_size, Some(3));
    assert!(database("* = host=x").is_fallback());
}

#[test]
fn special_numbers_leave_the_setting_in_force_where_the_reference_does() {
    let unset = [
        "pool_size=-1",
        "min_pool_size=-1",
        "reserve_pool_size=-1",
        "max_db_connections=0",
        "max_db_connections=-1",
        "max_db_client_connections=0",
        "server_lifetime=0",
        "query_wait_timeout=-1",
    ];
    for line in unset {
        assert_eq!(database(&format!("a = {line}")), database("a ="), "{line}");
    }
    for line in [
        "pool_size=-2",
        "pool_size=5x",
        "pool_size=99999999999",
        "server_lifetime=x",
        "server_lifetime=0x10",
    ] {
        assert_eq!(warnings(&format!("[pgbouncer]\n[databases]\na = {line}")).len(), 1, "{line}");
    }
    assert_eq!(database("a = pool_size=010 min_pool_size=0").pool_size, Some(10));
}

#[test]
fn a_user_has_every_key() {
    let text = "[pgbouncer]\n[users]\nu = pool_mode=session pool_size=1 reserve_pool_size=2 \
                max_user_connections=3 max_user_client_connections=4 query_timeout=5 \
                query_wait_timeout=6 idle_transaction_timeout=-1 transaction_timeout=0.5 \
                client_idle_timeout=0";
    let user = &good(text).users[0];
    assert_eq!(user.idle_transaction_timeout, Some(Duration::ZERO));
    assert_eq!(user.transaction_timeout, Some(Duration::from_millis(500)));
    assert_eq!(user.client_idle_timeout, None);
    assert_eq!(UserLine::rows().iter().filter(|row| user.show(row.name).is_some()).count(), 9);
}

#[test]
fn a_peer_has_host_port_and_size() {
    let config =
        good("[pgbouncer]\n[peers]\n01 = host=x\n2 = host=/run port=7 pool_size=3\n1 = host=y");
    assert_eq!(config.peers.len(), 2);
    assert_eq!((config.peers[0].id, config.peers[0].port.of(0)), (1, 6432));
    assert_eq!(config.peers[0].host.to_vec(), [Host::Tcp("y".to_owned())]);
    assert_eq!((config.peers[1].port.of(0), config.peers[1].pool_size), (7, Some(3)));
}

#[test]
fn what_does_nothing_or_not_what_it_seems_is_warned_of() {
    assert_eq!(
        warnings(
            "[pgbouncer]\nsuspend_timeout=3\nauth_type=pam\nresolv_conf=/x\n\
             client_tls_sslmode=disable\nserver_tls_ca_file=\nmin_pool_size=30\n\
             syslog_facility=mail\n\
             dns_zone_check_period=5\n[databases]\na=min_pool_size=5 pool_size=4"
        ),
        [
            "t.ini:2: suspend_timeout: this parameter has no effect any more",
            "t.ini:4: resolv_conf: has no effect: the system's resolver is asked, by \
             /etc/resolv.conf; for another file, give the service one of its own there: \
             BindReadOnlyPaths=FILE:/etc/resolv.conf in its systemd unit",
            "t.ini:7: min_pool_size: min_pool_size 30 is above the pool size, 20 are kept open",
            "t.ini:8: syslog_facility: expected auth, authpriv, daemon, user, or local0 to local7, \
             daemon is used",
            "t.ini:9: dns_zone_check_period: has no effect: every name is looked up again after \
             dns_max_ttl, whatever its zone says",
            "t.ini:11: a: min_pool_size 5 is above the pool size, 4 are kept open",
        ]
    );
}

#[test]
fn what_a_line_says_on_tls_must_go_together_and_with_the_settings() {
    let database = |line: &str, settings: &str| {
        let text = format!("[databases]\na = {line}\n[pgbouncer]\n{settings}\n");
        super::load_text("t.ini", &text).err().map(|errors| errors[0].to_string())
    };
    for (line, settings, expected) in [
        ("sslmode=verify-ca", "", Some("sslmode: needs sslrootcert or server_tls_ca_file")),
        ("sslmode=verify-ca", "server_tls_ca_file=/x", None),
        ("sslrootcert=/x", "server_tls_sslmode=verify-full", None),
        ("sslcert=/x", "", Some("sslcert: needs sslkey beside it")),
        ("sslkey=/x", "", Some("sslkey: needs sslcert beside it")),
        ("sslkey=/x", "server_tls_cert_file=/x", None),
        (
            "sslmode=verify-ca sslrootcert=system",
            "",
            Some("sslrootcert: needs sslmode verify-full"),
        ),
        ("sslmode=verify-full sslrootcert=system", "", None),
        ("sslnegotiation=direct", "", Some("sslnegotiation: needs sslmode require, verify-ca or")),
        ("sslnegotiation=direct", "server_tls_sslmode=require", None),
        ("sslmode=disable channel_binding=require", "", Some("channel_binding: needs an sslmode")),
        ("channel_binding=require", "", None),
        (
            "sslmode=on",
            "",
            Some("sslmode: expected one of disable, allow, prefer, require, verify"),
        ),
        ("channel_binding=yes", "", Some("channel_binding: expected one of disable, prefer, requ")),
        ("sslnegotiation=x", "", Some("sslnegotiation: expected one of postgres, direct")),
        ("ssl_mode=require", "", Some("ssl_mode: unknown parameter, did you mean sslmode?")),
    ] {
        let error = database(line, settings);
        match expected {
            None => assert_eq!(error, None, "{line}"),
            Some(words) => {
                let error = error.expect(line);
                assert!(error.starts_with(&format!("t.ini:2: a: {words}")), "{line}: {error}");
            }
        }
    }
    // Of several lines with one name the last counts.
    let text = "[databases]\na = sslcert=/x\na = host=b\n[pgbouncer]\n";
    assert!(!good(text).databases[0].has_security());
}

#[test]
fn old_names_count() {
    let config = good("[pgbouncer]\nservice_name=x");
    assert_eq!((config.settings.job_name.as_str(), config.warnings.len()), ("x", 0));
}

#[test]
fn the_consoles_database_is_no_place_for_auth_query() {
    assert_eq!(
        errors("[pgbouncer]\nauth_dbname=pgbouncer"),
        ["t.ini:2: auth_dbname: the name \"pgbouncer\" is reserved for the console"]
    );
}

#[test]
fn no_secret_is_printed_in_any_form() {
    let text = "[pgbouncer]\nauth_ldap_options=hush\n[databases]\na=password=hush";
    let config = good(text);
    assert!(!format!("{config:?}").contains("hush"));
    for bad in [
        "password=hush x=1",
        "password='hush",
        "password=hush pool_mode=x",
        "password='hush'hush",
        "password=one hush",
        "password=one hush=1",
        "password=one hush=",
    ] {
        let text = format!("[pgbouncer]\n[databases]\na={bad}");
        let errors = load_text("t.ini", &text).expect_err(bad);
        assert!(!format!("{errors:?}").contains("hush"), "{errors:?}");
        assert!(!errors[0].to_string().contains("hush"), "{bad}: {}", errors[0]);
    }
}

#[test]
fn a_flood_of_mistakes_is_cut_off_and_long_text_is_shortened() {
    let text = format!("[pgbouncer]\n{}", "nonsense = 1\n".repeat(10_000));
    assert!(errors(&text).len() <= 101);
    let long = errors(&format!("[pgbouncer]\npool_mode = {}", "x".repeat(1_000_000)));
    assert!(long[0].len() < 300, "{}", long[0].len());
}

#[test]
fn what_the_reference_gets_past_is_a_warning_and_a_mistake() {
    let text = "[databases]\na = host=x, port=5432,5433 pool_size=20; max_db_connections=-5\n\
                [users]\nu = query_timeout=5s\n[peers]\n1 = host=/tmp pool_size=x port=1,2\n\
                [pgbouncer]\nmax_user_connections = -1\nunix_socket_mode = 777\n";
    let expected = [
        ("t.ini:2: a: host: ", "two commas; \"x\" is taken"),
        ("t.ini:2: a: pool_size: ", "whole number; \"20\" is taken"),
        ("t.ini:2: a: max_db_connections: ", "to 2147483647; \"-1\" is taken"),
        ("t.ini:2: a: port: ", "one for each host; \"5432\" is taken"),
        ("t.ini:4: u: query_timeout: ", "15 or 0.5; \"5\" is taken"),
        ("t.ini:6: 1: pool_size: ", "whole number; \"0\" is taken"),
        ("t.ini:6: 1: port: ", "one for each host; \"1\" is taken"),
        ("t.ini:8: max_user_connections: ", "not \"-1\"; \"0\" is taken"),
        ("t.ini:9: unix_socket_mode: ", "this is 0o1411, octal needs a 0 in front"),
    ];
    let told = warnings(text);
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (warning, (start, end)) in told.iter().zip(expected) {
        assert!(warning.starts_with(start) && warning.ends_with(end), "{warning}");
    }
    let config = good(text);
    assert!(config.warnings.iter().all(|warning| warning.problem.is_mistake()));
    assert_eq!(config.databases[0].targets(""), [(Host::Tcp("x".to_owned()), 5432)]);
    assert_eq!(config.databases[0].pool_size, Some(20));
    assert_eq!(config.databases[0].max_db_connections, None);
    assert_eq!(config.users[0].query_timeout, Some(Duration::from_secs(5)));
    for (mode, value) in [("511", 0o777), ("0x1ff", 0o777), ("448", 0o700), ("01777", 0o1777)] {
        let config = good(&format!("[pgbouncer]\nunix_socket_mode = {mode}\n"));
        assert_eq!((config.settings.unix_socket_mode, config.warnings.len()), (value, 0), "{mode}");
    }
}

#[test]
fn what_show_prints_can_be_put_back_into_the_file() {
    let values = ["1", "3", "0", "0.5", "1234567", "1e9", "17", "0700", "on, off", "require", "x"];
    let words = ["transaction", "hba", "disable", "verify-full", "rollback", "any", "statement"];
    let mut tried = 0;
    for row in Settings::rows() {
        for value in values.iter().chain(&words).copied().chain(row.default) {
            let mut settings = Settings::default();
            if settings.set(row.name, value).is_err() {
                continue;
            }
            let Some(shown) = settings.show(row.name) else { continue };
            let config = good(&format!("[pgbouncer]\n{} = {shown}\n", row.name));
            let again = config.settings.show(row.name);
            assert_eq!(again.as_deref(), Some(shown.as_str()), "{} = {value}", row.name);
            assert!(!config.warnings.iter().any(|w| w.problem.is_mistake()), "{}", row.name);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried} values were shown");
}
