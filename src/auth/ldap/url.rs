//! LDAP URLs (RFC 4516), as far as `ldapurl` has a use for them:
//! `ldap[s]://host[:port]/base[?attribute[?scope[?filter]]]`.

use crate::base::text::unescaped;

/// What a URL says; what it leaves out is None.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Url {
    pub is_ldaps: bool,
    pub host: Option<String>,
    pub port: Option<String>,
    pub base: String,
    /// The first attribute, where the URL names several.
    pub attribute: Option<String>,
    pub scope: Option<String>,
    pub filter: Option<String>,
}

pub fn parse(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let is_ldaps = match scheme.to_ascii_lowercase().as_str() {
        "ldap" => false,
        "ldaps" => true,
        _ => return None,
    };
    let (place, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(place)?;
    let mut parts = rest.strip_prefix('/').unwrap_or(rest).splitn(4, '?');
    let base = decoded(parts.next().unwrap_or_default())?;
    let mut part = || match parts.next() {
        Some(text) => decoded(text).map(|text| Some(text).filter(|text| !text.is_empty())),
        None => Some(None),
    };
    let (attributes, scope, filter) = (part()?, part()?, part()?);
    let attribute = attributes.and_then(|all| all.split(',').next().map(str::to_owned));
    Some(Url { is_ldaps, host, port, base, attribute, scope, filter })
}

fn host_and_port(place: &str) -> Option<(Option<String>, Option<String>)> {
    let (host, rest) = match place.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.to_owned()),
        None if rest.is_empty() => None,
        None => return None,
    };
    let host = decoded(host)?;
    Some((Some(host).filter(|host| !host.is_empty()), port))
}

/// The text with each `%` and its two digits turned into a byte.
fn decoded(text: &str) -> Option<String> {
    let bytes = unescaped(text.as_bytes(), b'%')?;
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_up_to_four_parts() {
        let owned = |text: &str| Some(text.to_owned());
        let url = parse("LDAPS://[::1]:10636/dc=a%2cb,dc=c?uid,cn?sub?(a=b?)").unwrap();
        let expected = Url {
            is_ldaps: true,
            host: owned("::1"),
            port: owned("10636"),
            base: "dc=a,b,dc=c".to_owned(),
            attribute: owned("uid"),
            scope: owned("sub"),
            filter: owned("(a=b?)"),
        };
        assert_eq!(url, expected);
        let bare = parse("ldap://host").unwrap();
        assert_eq!(bare, Url { host: owned("host"), ..Url::default() });
        assert_eq!(parse("ldap:///dc=x??one").unwrap().scope, owned("one"));
        assert_eq!(parse("ldap://h?uid").unwrap().attribute, owned("uid"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "host",
            "http://host/",
            "ldap:/host",
            "ldap://[::1/",
            "ldap://[::1]x/",
            "ldap://h/%",
            "ldap://h/%zz",
            "ldap://h/%00",
            "ldap://h/%ff",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
