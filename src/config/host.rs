//! Where servers and peers listen: lists of hosts, and of ports.

use std::fmt;
use std::ops::Deref;

use super::number;
use super::value::{Kind, SettingType, ValueError};

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of a Unix socket, or its abstract name when it begins with `@`.
    Unix(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(name) | Host::Unix(name) => f.write_str(name),
        }
    }
}

/// The hosts of a line, in order; none means the Unix socket in `unix_socket_dir`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts(Vec<Host>);

impl Hosts {
    /// The hosts to connect to, where `socket_dir` stands for a missing list.
    pub fn or_socket_in(&self, socket_dir: &str) -> Vec<Host> {
        if self.0.is_empty() { vec![Host::Unix(socket_dir.to_owned())] } else { self.0.clone() }
    }
}

impl Deref for Hosts {
    type Target = [Host];
    fn deref(&self) -> &[Host] {
        &self.0
    }
}

impl SettingType for Hosts {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        text.split(',').map(|part| host(part.trim_ascii())).collect::<Result<_, _>>().map(Hosts)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        let names: Vec<String> = self.0.iter().map(Host::to_string).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
    fn unset() -> Self {
        Hosts::default()
    }
}

/// One port for every host of a line, or one for each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ports(Vec<u16>);

impl Ports {
    /// The port of the host at `index`.
    pub fn of(&self, index: usize) -> u16 {
        self.0.get(index).or(self.0.first()).copied().unwrap_or_default()
    }
}

impl Ports {
    /// The first one alone, for every host.
    pub fn first(&self) -> Ports {
        Ports(self.0.iter().copied().take(1).collect())
    }

    /// There is one port, or one for each of `hosts`; no host stands for one of our own.
    pub fn check(&self, hosts: &Hosts) -> Result<(), ValueError> {
        let is_good = self.len() == 1 || self.len() == hosts.len().max(1);
        if is_good { Ok(()) } else { Err(ValueError::PortsPerHost) }
    }
}

impl Deref for Ports {
    type Target = [u16];
    fn deref(&self) -> &[u16] {
        &self.0
    }
}

impl SettingType for Ports {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        text.split(',').map(port).collect::<Result<_, _>>().map(Ports)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        let ports: Vec<String> = self.0.iter().map(u16::to_string).collect();
        Some(ports.join(","))
    }
    fn unset() -> Self {
        Ports::default()
    }
}

fn port(text: &str) -> Result<u16, ValueError> {
    let port = number::decimal(text.trim_ascii()).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(ValueError::NotAPort)
}

fn host(text: &str) -> Result<Host, ValueError> {
    match text.as_bytes().first() {
        None => Err(ValueError::EmptyPart),
        Some(b'/' | b'@') => Ok(Host::Unix(text.to_owned())),
        Some(_) => Ok(Host::Tcp(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_and_socket_directories() {
        let hosts = Hosts::read("a, ::1,/tmp,@abstract", &Kind::Hosts).expect("four hosts");
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        let unix = |name: &str| Host::Unix(name.to_owned());
        assert_eq!(*hosts, [tcp("a"), tcp("::1"), unix("/tmp"), unix("@abstract")]);
        assert_eq!(hosts.show(&Kind::Hosts).as_deref(), Some("a,::1,/tmp,@abstract"));
        assert_eq!(Hosts::default().or_socket_in("/run"), [unix("/run")]);
        assert_eq!(Hosts::default().show(&Kind::Hosts), None);
        for text in ["a,,b", ",a", "a,", ","] {
            assert_eq!(Hosts::read(text, &Kind::Hosts), Err(ValueError::EmptyPart), "{text}");
        }
    }

    #[test]
    fn ports_are_from_1_to_65535() {
        let ports = Ports::read("5432, 010", &Kind::Ports).expect("two ports");
        assert_eq!(*ports, [5432, 10]);
        assert_eq!((ports.of(1), ports.of(2)), (10, 5432));
        for text in ["0", "-1", "65536", "abc", "0x10", "", "1,,2", "99999999999999999999"] {
            assert_eq!(Ports::read(text, &Kind::Ports), Err(ValueError::NotAPort), "{text}");
        }
    }
}
