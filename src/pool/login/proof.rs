//! Which proof of its user a client must give, by the settings or a rule of the HBA file.

use crate::auth::client::ProofMethod;
use crate::auth::hba;
use crate::auth::inquiry::Judge;
use crate::config::AuthType;
use crate::log::PeerAddress;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::ClientId;
use crate::pool::records::client::{ClientState, Replication, StartupNames};
use crate::pool::telling::reason::Reason;

/// The proof that a client must give.
pub(super) enum Proof {
    Ask(ProofMethod),
    /// LDAP or PAM judges the password; the pooler need not know the user.
    Judge(Judge),
    /// Nothing is asked, and the database's line has no `user=`: the client would be served as any
    /// user that it names. So it is refused.
    NeedsForcedUser,
    /// The client has shown a certificate that names its user.
    Certificate,
    /// The client has shown no such certificate; the text says for the log what is missing.
    NoCertificate(&'static str),
    /// The system vouches for the user at the other end of a Unix socket.
    Peer,
    Refuse(Reason),
    /// An LDAP directory is to judge, but the options do not say which one. The log said so when
    /// the files were read.
    Unjudged,
}

impl Core {
    pub(super) fn proof_for(&self, id: ClientId, names: &StartupNames) -> Proof {
        match self.settings().auth_type {
            AuthType::Any if names.database == CONSOLE || self.forces_user(&names.database) => {
                Proof::Ask(ProofMethod::Any)
            }
            AuthType::Any => Proof::NeedsForcedUser,
            AuthType::Hba => self.proof_by_hba(id, names),
            AuthType::Ldap => match &self.access.ldap {
                Some(directory) => Proof::Judge(Judge::Ldap(Box::new(directory.clone()))),
                None => Proof::Unjudged,
            },
            AuthType::Md5 => Proof::Ask(ProofMethod::Md5),
            AuthType::Pam => Proof::Judge(Judge::pam()),
            AuthType::Peer => self.proof_by_peer(id, names, None),
            AuthType::Plain => Proof::Ask(ProofMethod::Plain),
            AuthType::ScramSha256 => Proof::Ask(ProofMethod::ScramSha256),
            AuthType::Trust => Proof::Ask(ProofMethod::Trust),
            AuthType::Cert => self.proof_by_certificate(id, names, None),
        }
    }

    /// Whether the line that serves a database has `user=`, which serves every client as that user.
    fn forces_user(&self, database: &str) -> bool {
        match self.directory.find_database(database) {
            Some(id) => self.databases[id].forced_user.is_some(),
            None => self.fallback_line(database).is_some_and(|line| line.user.is_some()),
        }
    }

    fn proof_by_hba(&self, id: ClientId, names: &StartupNames) -> Proof {
        let client = &self.clients[id];
        let visitor = hba::Visitor {
            address: match client.peer {
                PeerAddress::Tcp { ip, .. } => Some(ip),
                PeerAddress::Unix { .. } => None,
            },
            has_tls: client.tls().is_some(),
            wants_replication: client.replication == Replication::Physical,
            database: names.database.as_bytes(),
            user: names.user.as_bytes(),
        };
        let refused = || Proof::Refuse(Reason::AuthRefused("login rejected".into()));
        let Some(rule) = self.access.hba.find(&visitor) else {
            return Proof::Refuse(Reason::AuthRefused(hba::NO_RULE.into()));
        };
        if let Some(method) = rule.method.login() {
            return Proof::Ask(method);
        }
        match rule.method {
            hba::HbaMethod::Cert => self.proof_by_certificate(id, names, rule.map.as_deref()),
            hba::HbaMethod::Peer => self.proof_by_peer(id, names, rule.map.as_deref()),
            hba::HbaMethod::Ldap | hba::HbaMethod::Pam => {
                rule.judge.clone().map_or(Proof::Unjudged, Proof::Judge)
            }
            _ => refused(),
        }
    }

    /// The system's name of the Unix socket's user must be the client's, or be mapped to it.
    fn proof_by_peer(&self, id: ClientId, names: &StartupNames, map: Option<&[u8]>) -> Proof {
        let name = self.peer_uid(id).and_then(self.host.uid_name);
        let matches = name.is_some_and(|name| match map {
            None => name == names.user,
            Some(map) => self.access.ident.allows(map, name.as_bytes(), names.user.as_bytes()),
        });
        if matches { Proof::Peer } else { Proof::Refuse(Reason::UnixLoginRejected) }
    }

    /// A name in the certificate must be the client's, or be mapped to it.
    fn proof_by_certificate(
        &self,
        id: ClientId,
        names: &StartupNames,
        map: Option<&[u8]>,
    ) -> Proof {
        let Some(tls) = self.clients[id].tls() else {
            return Proof::NoCertificate("TLS connection required");
        };
        let matches = match map {
            None => tls.is_of_user(&names.user),
            Some(map) => {
                let user = names.user.as_bytes();
                tls.names().any(|name| self.access.ident.allows(map, name.as_bytes(), user))
            }
        };
        match matches {
            true => Proof::Certificate,
            false if tls.names().next().is_none() => {
                Proof::NoCertificate("TLS client certificate required")
            }
            false => Proof::NoCertificate("TLS certificate name mismatch"),
        }
    }

    /// The system user at the other end of a client's Unix socket.
    pub(super) fn peer_uid(&self, id: ClientId) -> Option<u32> {
        match self.clients[id].state() {
            ClientState::Login(login) => login.uid,
            _ => None,
        }
    }
}
