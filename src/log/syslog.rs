//! Names of syslog facilities.

/// How lines appear in the system's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyslogOptions {
    pub ident: String,
    /// The facility's code (RFC 5424, table 1), as [`facility`] gives it.
    pub facility: u8,
}

/// The code of a facility's name (RFC 5424, table 1), None for a name that has none here.
pub fn facility(name: &str) -> Option<u8> {
    const LOCAL0: u8 = 16;
    Some(match name {
        "user" => 1,
        "daemon" => 3,
        "auth" => 4,
        "authpriv" => 10,
        _ => {
            let number: u8 = name.strip_prefix("local")?.parse().ok()?;
            if number > 7 || name.len() != "local0".len() {
                return None;
            }
            LOCAL0 + number
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_codes_of_the_rfc() {
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("local0"), Some(16));
        assert_eq!(facility("local7"), Some(23));
        for unknown in ["", "local", "local8", "local07", "local+7", "kern", "Daemon"] {
            assert_eq!(facility(unknown), None, "{unknown}");
        }
    }
}
