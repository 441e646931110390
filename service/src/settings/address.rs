//! The address of a server in a setting: a host, and a port where one is given.

use std::net::Ipv6Addr;

/// A host, and a port where one is given: `host`, `host:25`, `192.0.2.1:25`, `[2001:db8::1]:25`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// From 1 on.
    pub port: Option<u16>,
}

/// What is wrong with an address, in words that follow what is expected.
pub(crate) type Fault = String;

impl Address {
    /// Reads one; an IPv6 address without a port may stand without brackets.
    ///
    /// # Errors
    /// What is wrong with it: an address with a scheme, white space or other characters that no
    /// name has, brackets around anything but an IPv6 address, a port that is none.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err("one is empty".to_owned());
        }
        if text.contains("://") {
            return Err("a URL is none".to_owned());
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-:[]%".contains(c);
        if let Some(c) = text.chars().find(|c| !is_part(*c)) {
            return Err(format!("{c:?} is in no host's name"));
        }
        if is_ipv6(text) {
            return Ok(Self { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => bracketed(rest)?,
            None => named(text)?,
        };
        let port = port.map(number).transpose()?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// What stands in brackets, and the port after them.
fn bracketed(rest: &str) -> Result<(&str, Option<&str>), Fault> {
    let fault = || "brackets stand around an IPv6 address, and nothing but a port behind them";
    let (host, port) = rest.split_once(']').filter(|(host, _)| is_ipv6(host)).ok_or_else(fault)?;
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        None => Err(fault().to_owned()),
        port => Ok((host, port)),
    }
}

fn named(text: &str) -> Result<(&str, Option<&str>), Fault> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if port.is_some_and(|port| port.contains(':')) {
        return Err("an IPv6 address with a port stands in brackets".to_owned());
    }
    match host.find(['[', ']', '%']) {
        Some(_) => Err("brackets stand around an IPv6 address".to_owned()),
        None if host.is_empty() => Err("a host is missing".to_owned()),
        None => Ok((host, port)),
    }
}

fn number(port: &str) -> Result<u16, Fault> {
    let is_number = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let number = port.parse().ok().filter(|port| *port > 0 && is_number);
    number.ok_or_else(|| "a port is a whole number from 1 to 65535".to_owned())
}

/// Whether it is an IPv6 address, with a zone (`fe80::1%eth0`) or without.
pub(crate) fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric());
    is_zone && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_or_none() {
        for (text, host, port) in [
            ("mail", "mail", None),
            ("my_kafka-1.example.com.:9092", "my_kafka-1.example.com.", Some(9092)),
            ("192.0.2.1:1", "192.0.2.1", Some(1)),
            ("[2001:db8::1]:65535", "2001:db8::1", Some(65535)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
            ("[fe80::1%eth0]:25", "fe80::1%eth0", Some(25)),
        ] {
            let expected = Address { host: host.to_owned(), port };
            assert_eq!(Address::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_from_another() {
        for (text, fault) in [
            ("", "one is empty"),
            ("smtp://mail:25", "a URL is none"),
            ("mail server", "' ' is in no host's name"),
            ("mail\n", "'\\n' is in no host's name"),
            ("a:1;b:2", "';' is in no host's name"),
            ("a;b", "';' is in no host's name"),
            ("user@mail", "'@' is in no host's name"),
            ("m\u{fc}ller.example", "'\u{fc}' is in no host's name"),
            (":25", "a host is missing"),
            ("mail:", "a port is a whole number"),
            ("mail:0", "a port is a whole number"),
            ("mail:2_5", "a port is a whole number"),
            ("mail:99999", "a port is a whole number"),
            ("mail:smtp", "a port is a whole number"),
            ("2001:db8::1:x", "an IPv6 address with a port stands in brackets"),
            ("[mail]:25", "brackets stand around an IPv6 address"),
            ("[::1", "brackets stand around an IPv6 address"),
            ("[::1]25", "brackets stand around an IPv6 address"),
            ("[::1]:", "a port is a whole number"),
            ("mail]:25", "brackets stand around an IPv6 address"),
            ("[fe80::1%]:25", "brackets stand around an IPv6 address"),
        ] {
            let found = Address::parse(text).unwrap_err();
            assert!(found.starts_with(fault), "{text}: {found}");
        }
    }
}
