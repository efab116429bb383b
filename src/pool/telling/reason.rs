//! Every reason to end a connection and every error that a client is sent: its words, its SQLSTATE,
//! and whether the peer is told. The words are an interface: log watchers and applications match
//! them.

use std::borrow::Cow;

use crate::wire::sqlstate;

/// Whether a client is sent the reason before its connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    /// The client is sent FATAL with the reason's words; the log calls the reason a pooler error.
    Client,
    /// Nothing is sent: the client has sent Terminate or is gone, or the reason concerns a server.
    Log,
}

/// Declares the reasons. A row without data: `Name: "words", To, SQLSTATE;`
/// with a text that fills `{}`: `Name(text): "words {}", To, SQLSTATE;`
macro_rules! reasons {
    (plain { $($plain:ident: $words:literal, $to:ident, $state:ident;)* }
     filled { $($filled:ident: $before:literal, $after:literal, $fto:ident, $fstate:ident;)* }) => {
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Reason {
            $($plain,)*
            $($filled(Box<str>),)*
        }

        impl Reason {
            /// The words, as the log and the client read them.
            pub fn words(&self) -> Cow<'static, str> {
                match self {
                    $(Reason::$plain => Cow::Borrowed($words),)*
                    $(Reason::$filled(text) => Cow::Owned(format!("{}{text}{}", $before, $after)),)*
                }
            }

            fn row(&self) -> (To, &'static str) {
                match self {
                    $(Reason::$plain => (To::$to, sqlstate::$state),)*
                    $(Reason::$filled(_) => (To::$fto, sqlstate::$fstate),)*
                }
            }

            /// The text that a reason carries besides its words.
            pub fn text(&self) -> Option<&str> {
                match self {
                    $(Reason::$plain => None,)*
                    $(Reason::$filled(text) => Some(text),)*
                }
            }

            /// The reasons that carry no text of their own.
            #[cfg(test)]
            pub const PLAIN: &'static [Reason] = &[$(Reason::$plain,)*];
        }
    };
}

reasons! {
    plain {
        AuthQueryFailed: "auth_query failed", Log, SUCCESSFUL;
        AdminForcedDisconnect: "admin forced disconnect", Client, PROTOCOL_VIOLATION;
        BadPacket: "bad packet", Client, PROTOCOL_VIOLATION;
        BadStartupLayout: "invalid startup packet layout: expected terminator as last byte",
            Client, PROTOCOL_VIOLATION;
        BadStatementPacket: "failed to parse packet", Client, PROTOCOL_VIOLATION;
        BadPacketHeader: "bad pkt header", Client, PROTOCOL_VIOLATION;
        CancelDone: "successfully sent cancel request", Log, SUCCESSFUL;
        BadCancel: "bad cancel request", Log, SUCCESSFUL;
        CancelHops: "cancel request was passed on too often", Log, SUCCESSFUL;
        CancelNothing: "cancel request for idle client", Log, SUCCESSFUL;
        CancelFailed: "failed cancel request", Log, SUCCESSFUL;
        CancelAgain: "cancel request for a query that is being cancelled", Log, SUCCESSFUL;
        CancelWaiting: "cancelled a query that waited for a server", Log, SUCCESSFUL;
        CancelOvertaken: "query ended before its cancel request was sent", Log, SUCCESSFUL;
        CancelWaitTimeout: "cancel_wait_timeout", Log, SUCCESSFUL;
        ClientClose: "client close request", Log, SUCCESSFUL;
        ClientEof: "client unexpected eof", Log, SUCCESSFUL;
        ClientIdleTimeout: "client_idle_timeout", Client, PROTOCOL_VIOLATION;
        ClientLeftUnanswered: "client disconnect while server was not ready", Log, SUCCESSFUL;
        ClientLoginTimeout: "client_login_timeout", Client, PROTOCOL_VIOLATION;
        ClientLoginTimeoutDown:
            "client_login_timeout (server down)", Client, PROTOCOL_VIOLATION;
        CloseNeeded: "close_needed", Log, SUCCESSFUL;
        ConfigError: "bouncer config error", Client, PROTOCOL_VIOLATION;
        ConnectQueryFailed: "connect_query failed", Log, SUCCESSFUL;
        ConnectTimeout: "connect timeout", Log, SUCCESSFUL;
        DatabaseChanged: "database configuration changed", Client, PROTOCOL_VIOLATION;
        DatabaseRemoved: "database removed", Client, PROTOCOL_VIOLATION;
        DatabaseClientsExceeded: "client connections exceeded (max_db_client_connections)",
            Client, TOO_MANY_CONNECTIONS;
        EvictedForDatabase: "evicted for max_db_connections", Log, SUCCESSFUL;
        EvictedForPool: "evicted for pool_size", Log, SUCCESSFUL;
        EvictedForUser: "evicted for max_user_connections", Log, SUCCESSFUL;
        IdleDirty: "SV_IDLE server got dirty", Log, SUCCESSFUL;
        IdleTransactionTimeout: "idle transaction timeout", Client, PROTOCOL_VIOLATION;
        MaxClientConn: "no more connections allowed (max_client_conn)",
            Client, TOO_MANY_CONNECTIONS;
        MessageFirst: "bad packet", Log, SUCCESSFUL;
        NoUserName: "no username supplied", Client, PROTOCOL_VIOLATION;
        NoSuchPeer: "could not find peer to forward request to", Log, SUCCESSFUL;
        NotAllowed: "not allowed", Client, PROTOCOL_VIOLATION;
        ObsoleteConnection: "obsolete connection", Log, SUCCESSFUL;
        NotificationEncoding: "notification is not ASCII, and client_encoding is not UTF8",
            Client, UNTRANSLATABLE_CHARACTER;
        NotificationsLost: "channels cannot be listened to any more (shared_listen)",
            Client, CANNOT_CONNECT_NOW;
        NotificationsUnread: "too many notifications that the client does not take",
            Client, PROGRAM_LIMIT_EXCEEDED;
        ListenFailed: "listen query failed", Log, SUCCESSFUL;
        OldProtocol: "old V2 protocol not supported", Client, PROTOCOL_VIOLATION;
        OptionsForm: "unsupported options startup parameter: only '-c config=val' and \
            '--config=val' are allowed", Client, PROTOCOL_VIOLATION;
        ParametersRefused: "invalid server parameter", Client, PROTOCOL_VIOLATION;
        PasswordFirst: "client password pkt before startup packet", Client, PROTOCOL_VIOLATION;
        PauseMode: "pause mode", Log, SUCCESSFUL;
        PoolerEnds: "pooler is shutting down", Client, ADMIN_SHUTDOWN;
        QueryDisallowed: "PQexec disallowed", Client, PROTOCOL_VIOLATION;
        QueryTimeout: "query timeout", Client, PROTOCOL_VIOLATION;
        QueryTimeoutWaiting: "query_timeout", Client, PROTOCOL_VIOLATION;
        QueryWaitTimeout: "query_wait_timeout", Client, PROTOCOL_VIOLATION;
        ReplicationClientClosed: "replication client was closed", Log, SUCCESSFUL;
        ResetFailed: "reset query failed", Log, SUCCESSFUL;
        SessionStateKept: "session state could not be undone", Log, SUCCESSFUL;
        BrokenParse: "broken Parse packet", Client, PROTOCOL_VIOLATION;
        BrokenParameterStatus: "broken ParameterStatus packet", Client, PROTOCOL_VIOLATION;
        ServerAuthUnanswered: "failed to answer authreq", Log, PROTOCOL_VIOLATION;
        ServerAbandoned: "abandoned work could not be undone", Log, SUCCESSFUL;
        ServerConnectFailed: "connect failed", Log, SUCCESSFUL;
        ServerCrashed: "server conn crashed?", Client, PROTOCOL_VIOLATION;
        ServerDirty: "idle server got dirty", Log, SUCCESSFUL;
        ServerDnsFailed: "server DNS lookup failed", Log, SUCCESSFUL;
        ServerFarewell: "server conn crashed?", Log, SUCCESSFUL;
        ServerIdleTimeout: "server idle timeout", Log, SUCCESSFUL;
        ServerLifetime: "server lifetime over", Log, SUCCESSFUL;
        ServerTalks: "server says too much unasked", Log, SUCCESSFUL;
        ServerShuttingDown: "server shutting down", Client, PROTOCOL_VIOLATION;
        ShuttingDown: "pooler is shutting down", Client, PROTOCOL_VIOLATION;
        ServerRefusedSsl: "server refused SSL", Log, SUCCESSFUL;
        SslInside: "SSL req inside SSL", Log, PROTOCOL_VIOLATION;
        StrangerGaveWay: "too many connections that have not logged in",
            Client, TOO_MANY_CONNECTIONS;
        SslRequired: "SSL required", Client, PROTOCOL_VIOLATION;
        StatementBytes: "prepared statements take too much memory", Client, PROGRAM_LIMIT_EXCEEDED;
        StatementLimit: "too many prepared statements", Client, PROGRAM_LIMIT_EXCEEDED;
        StatementMemory: "no memory left for prepared statements", Client, OUT_OF_MEMORY;
        StuffedGss: "received unencrypted data after GSSAPI encryption request",
            Client, PROTOCOL_VIOLATION;
        StuffedSsl: "received unencrypted data after SSL request", Client, PROTOCOL_VIOLATION;
        BadSslAnswer: "bad sslreq answer", Log, SUCCESSFUL;
        StuffedSslResponse: "received unencrypted data after SSL response", Log, SUCCESSFUL;
        TlsDenied: "client requires TLS, which client_tls_sslmode denies", Log, SUCCESSFUL;
        TlsFailed: "TLS handshake failed", Log, SUCCESSFUL;
        TlsStartupFailed: "TLS startup failed", Log, SUCCESSFUL;
        TestFailed: "test query failed", Log, SUCCESSFUL;
        TooManyServers: "too many servers in the pool", Log, SUCCESSFUL;
        TransactionBlock: "transaction blocks not allowed in statement pooling mode",
            Client, PROTOCOL_VIOLATION;
        TransactionTimeout: "transaction timeout", Client, PROTOCOL_VIOLATION;
        UnixLoginRejected: "unix socket login rejected", Client, PROTOCOL_VIOLATION;
        UnknownClientPacket: "unknown pkt", Client, PROTOCOL_VIOLATION;
        UnknownServerPacket: "unknown pkt from server", Client, PROTOCOL_VIOLATION;
        UsedDirty: "SV_USED server got dirty", Log, SUCCESSFUL;
        UserClientsExceeded: "client connections exceeded (max_user_client_connections)",
            Client, TOO_MANY_CONNECTIONS;
        UserNameTooLong: "username too long", Client, PROTOCOL_VIOLATION;
    }
    filled {
        AuthDatabaseDisabled: "authentication database \"", "\" is disabled",
            Client, PROTOCOL_VIOLATION;
        AuthRefused: "", "", Client, PROTOCOL_VIOLATION;
        BadHeader: "bad packet header: '", "'", Client, PROTOCOL_VIOLATION;
        CachedLoginError: "server login has been failing, cached error: ",
            " (server_login_retry)", Client, PROTOCOL_VIOLATION;
        ChoiceRefused: "", "", Client, INVALID_PARAMETER_VALUE;
        ClientLost: "", "", Log, SUCCESSFUL;
        DatabaseDisabled: "database \"", "\" is disabled", Client, PROTOCOL_VIOLATION;
        NoSuchDatabase: "no such database: ", "", Client, PROTOCOL_VIOLATION;
        ServerLoginFailed: "", "", Log, SUCCESSFUL;
        ServerMessage: "", "", Client, PROTOCOL_VIOLATION;
        UnsupportedOption: "unsupported startup parameter in options: ", "",
            Client, PROTOCOL_VIOLATION;
        UnsupportedParameter: "unsupported startup parameter: ", "",
            Client, PROTOCOL_VIOLATION;
    }
}

impl Reason {
    /// The reason for a client whose certificate does not prove its user.
    pub fn certificate() -> Reason {
        Reason::AuthRefused("certificate authentication failed".into())
    }

    /// Whether the client is told before the connection ends.
    pub fn is_told(&self) -> bool {
        self.row().0 == To::Client
    }

    /// Whether the server ended its connection or made it useless.
    pub fn is_servers_own(&self) -> bool {
        matches!(
            self,
            Reason::BadPacketHeader
                | Reason::BrokenParameterStatus
                | Reason::IdleDirty
                | Reason::ServerCrashed
                | Reason::ServerDirty
                | Reason::TestFailed
                | Reason::UnknownServerPacket
                | Reason::UsedDirty
        )
    }

    /// Whether servers are closed for this reason in normal operation.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            Reason::AdminForcedDisconnect
                | Reason::CloseNeeded
                | Reason::EvictedForDatabase
                | Reason::EvictedForPool
                | Reason::EvictedForUser
                | Reason::PauseMode
                | Reason::PoolerEnds
                | Reason::ReplicationClientClosed
                | Reason::ServerIdleTimeout
                | Reason::ServerLifetime
                | Reason::ServerShuttingDown
                | Reason::ShuttingDown
                | Reason::TooManyServers
        )
    }

    /// The SQLSTATE that goes with the words.
    pub fn sqlstate(&self) -> &'static str {
        self.row().1
    }

    /// The name under which SHOW ERRORS counts a reason whose words vary.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Reason::AuthDatabaseDisabled(_) => "authentication database is disabled",
            Reason::BadHeader(_) => "bad packet header",
            Reason::CachedLoginError(_) => "server login has been failing, cached error",
            Reason::ClientLost(_) => "client connection lost",
            Reason::DatabaseDisabled(_) => "database is disabled",
            Reason::NoSuchDatabase(_) => "no such database",
            Reason::ServerLoginFailed(_) | Reason::ServerMessage(_) => "server login failed",
            Reason::UnsupportedOption(_) => "unsupported startup parameter in options",
            Reason::UnsupportedParameter(_) => "unsupported startup parameter",
            _ => return None,
        })
    }

    /// The reason under which a server is closed on release, if it was marked for closing while in
    /// use.
    pub fn on_release(self) -> Reason {
        match self {
            Reason::DatabaseChanged => Reason::CloseNeeded,
            Reason::ServerShuttingDown => Reason::PauseMode,
            other => other,
        }
    }

    /// Advice to the operator or the programmer, where the words give none.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Reason::UnsupportedParameter(_) | Reason::UnsupportedOption(_) => {
                "Name it in ignore_startup_parameters to let it pass unheeded, or in \
                 track_extra_parameters to have it set on the server."
            }
            Reason::StatementBytes | Reason::StatementLimit => {
                "Close the statements that are not needed any more."
            }
            Reason::StatementMemory => {
                "All clients together have too much prepared; see SHOW MEM and max_prepared_bytes."
            }
            Reason::SslRequired => {
                "The pooler's client_tls_sslmode lets nobody in without TLS: connect with \
                 sslmode=require."
            }
            Reason::TransactionBlock => "The pool's pool_mode is statement.",
            Reason::NotAllowed => "The console is for users named in admin_users or stats_users.",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_and_what_is_told_has_a_state() {
        for reason in Reason::PLAIN {
            assert!(!reason.words().is_empty(), "{reason:?}");
            assert_eq!(reason.sqlstate().len(), 5, "{reason:?}");
            assert!(!reason.is_told() || reason.sqlstate() != sqlstate::SUCCESSFUL, "{reason:?}");
        }
    }

    #[test]
    fn a_text_is_filled_in() {
        let reason = Reason::CachedLoginError("down".into());
        assert_eq!(
            reason.words(),
            "server login has been failing, cached error: down (server_login_retry)"
        );
    }
}
