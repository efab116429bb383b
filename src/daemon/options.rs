//! Turns settings into options for parts that do not know settings.

use std::path::PathBuf;

use super::args::RunArgs;
use super::start::{self, StartOptions};
use crate::config::{Config, LogFormat, Settings};
use crate::log::{self, Level, SyslogOptions};
use crate::net::listen::{ListenOptions, UnixOptions};
use crate::sys::socket::{TcpListen, TcpOptions};

/// How long a connection may stay silent with `tcp_defer_accept`, as the manual says.
const DEFER_ACCEPT_SECONDS: u32 = 45;

/// The syslog facility `daemon`, if the configured one is unknown.
const DAEMON: u8 = 3;

/// The options for the start. The number of descriptors is filled in later, by [`expected_fds`].
pub fn start(args: &RunArgs, config: &Config) -> StartOptions {
    let settings = &config.settings;
    StartOptions {
        core_dumps: settings.core_dumps,
        daemon: args.daemon,
        listen: listen(settings),
        log: log(args, settings),
        metrics: metrics(settings),
        max_client_conn: settings.max_client_conn,
        expected_fds: 0,
        pid_file: path(&settings.pidfile),
        user: args.user.clone().or_else(|| settings.user.clone()),
    }
}

/// How many descriptors the configuration may need with this many known users.
pub fn expected_fds(config: &Config, users: u32) -> u64 {
    let settings = &config.settings;
    let databases = config.databases.iter().filter(|line| line.name != "*");
    let pools = databases
        .map(|line| (line.pool_size.unwrap_or(settings.default_pool_size), line.user.is_some()));
    start::expected_fds(settings.max_client_conn, pools, users)
}

/// Where the log goes. In the background the log itself does not use standard error.
pub fn log(args: &RunArgs, settings: &Settings) -> log::Options {
    let syslog = SyslogOptions {
        path: log::SYSLOG_SOCKET.into(),
        ident: settings.syslog_ident.clone(),
        facility: log::facility(&settings.syslog_facility).unwrap_or(DAEMON),
    };
    log::Options {
        stderr: !args.quiet,
        file: path(&settings.logfile),
        syslog: settings.syslog.then_some(syslog),
        threshold: Level::from_verbosity(settings.verbose.max(args.verbosity)),
        format: match settings.log_format {
            LogFormat::Json => log::Format::Json,
            LogFormat::Plain => log::Format::Plain,
        },
    }
}

/// The socket options of every TCP connection, to clients and to servers.
pub fn tcp(settings: &Settings) -> TcpOptions {
    TcpOptions {
        keepalive: settings.tcp_keepalive,
        keepalive_idle_s: settings.tcp_keepidle,
        keepalive_interval_s: settings.tcp_keepintvl,
        keepalive_count: settings.tcp_keepcnt,
        user_timeout_ms: settings.tcp_user_timeout,
        buffer: settings.tcp_socket_buffer,
    }
}

fn listen(settings: &Settings) -> ListenOptions {
    let group = Some(settings.unix_socket_group.clone()).filter(|name| !name.is_empty());
    let unix = UnixOptions {
        directory: settings.unix_socket_dir.clone(),
        mode: settings.unix_socket_mode,
        group,
        path: None,
    };
    ListenOptions {
        addresses: settings.listen_addr.to_vec(),
        port: settings.listen_port,
        tcp: TcpListen {
            backlog: settings.listen_backlog,
            reuse_port: settings.so_reuseport,
            defer_accept_s: if settings.tcp_defer_accept { DEFER_ACCEPT_SECONDS } else { 0 },
        },
        unix: Some(unix).filter(|unix| !unix.directory.is_empty()),
    }
}

/// The listeners for /metrics and the page.
fn metrics(settings: &Settings) -> ListenOptions {
    let path = Some(settings.metrics_unix_socket.clone()).filter(|path| !path.is_empty());
    let ListenOptions { tcp, .. } = listen(settings);
    let group = Some(settings.unix_socket_group.clone()).filter(|name| !name.is_empty());
    let unix = path.map(|path| UnixOptions {
        directory: String::new(),
        mode: settings.unix_socket_mode,
        group,
        path: Some(path),
    });
    ListenOptions {
        addresses: settings.metrics_listen_addr.to_vec(),
        port: settings.metrics_listen_port,
        // Each process has metrics of its own, so two processes cannot share a port.
        tcp: TcpListen { reuse_port: false, defer_accept_s: 0, ..tcp },
        unix,
    }
}

/// A path; `None` if the text is empty.
fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(text: &str) -> Config {
        config::load_text("test.ini", text).expect("a good configuration")
    }

    #[test]
    fn the_defaults_listen_on_a_unix_socket_only() {
        let options = start(&RunArgs::default(), &config("[pgbouncer]\n"));
        assert!(options.listen.addresses.is_empty());
        let unix = options.listen.unix.expect("a unix socket");
        assert_eq!((unix.directory.as_str(), unix.mode, unix.group), ("/tmp", 0o777, None));
        assert_eq!(options.listen.tcp.defer_accept_s, DEFER_ACCEPT_SECONDS);
        assert_eq!((options.pid_file, options.user), (None, None));
        assert_eq!(options.log.threshold, Level::Log);
        assert!(options.log.stderr && options.log.file.is_none() && options.log.syslog.is_none());
    }

    #[test]
    fn the_command_line_beats_the_file() {
        let args = RunArgs {
            user: Some("me".to_owned()),
            verbosity: 2,
            quiet: true,
            ..RunArgs::default()
        };
        let options = start(&args, &config("[pgbouncer]\nuser = you\nverbose = 1\n"));
        assert_eq!(options.user.as_deref(), Some("me"));
        assert_eq!(options.log.threshold, Level::Noise);
        assert!(!options.log.stderr);
    }

    #[test]
    fn each_database_but_the_wildcard_counts_for_descriptors() {
        let text = "[databases]\na = host=x\nb = host=x user=u pool_size=3\n* = host=x\n\
                    [pgbouncer]\ndefault_pool_size = 5\nmax_client_conn = 10\n";
        assert_eq!(expected_fds(&config(text), 2), 10 + 12 + 5 * 2 + 3);
    }

    #[test]
    fn a_syslog_is_opened_as_configured() {
        let text = "[pgbouncer]\nsyslog = 1\nsyslog_ident = x\nsyslog_facility = local3\n";
        let options = log(&RunArgs::default(), &config(text).settings);
        let path = "/dev/log".into();
        let expected = SyslogOptions { path, ident: "x".to_owned(), facility: 19 };
        assert_eq!(options.syslog, Some(expected));
    }
}
