//! The names by which this server may be addressed.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a `Host` header must match.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The port that the server listens on.
    pub port: u16,
    /// Other machines may connect; then any IP address is accepted.
    pub remote: bool,
    /// Further names from `control.hosts`, each with a port or valid for any port.
    pub listed: Vec<String>,
}

impl Hosts {
    /// Whether a `Host` header names this server. Only the forms that browsers and HTTP libraries send are accepted.
    pub fn has(&self, host: &str) -> bool {
        let (name, port) = split_port(host);
        let is_listed = |name: &str| self.listed.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_listed(host) || (port != Port::Invalid && is_listed(name)) {
            return true;
        }
        let is_our_port = match port {
            Port::None => self.port == 80,
            Port::Number(port) => port == self.port,
            Port::Invalid => false,
        };
        // DNS rebinding needs a name; an address can't be rebound.
        is_our_port
            && match (name.parse::<Ipv4Addr>(), in_brackets(name).map(str::parse::<Ipv6Addr>)) {
                (Ok(ip), _) => ip.is_loopback() || self.remote,
                (_, Some(Ok(ip))) => ip.is_loopback() || self.remote,
                _ => name.eq_ignore_ascii_case("localhost"),
            }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Port {
    None,
    Number(u16),
    Invalid,
}

/// Splits `host:port`, `[::1]:port` or `host`.
fn split_port(host: &str) -> (&str, Port) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            let is_plain = port.bytes().all(|digit| digit.is_ascii_digit()) && !port.starts_with('0');
            let port = port.parse().ok().filter(|_| is_plain);
            (name, port.map_or(Port::Invalid, Port::Number))
        }
        _ => (host, Port::None),
    }
}

fn in_brackets(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(remote: bool, listed: &[&str]) -> Hosts {
        Hosts { port: 8080, remote, listed: listed.iter().map(|&host| host.to_owned()).collect() }
    }

    #[test]
    fn only_names_of_this_machine_with_our_port_are_ours() {
        let hosts = hosts(false, &["gpu1.lan", "localhost:9000"]);
        for ours in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "127.9.9.9:8080",
            "gpu1.lan",
            "gpu1.lan:8080",
            "GPU1.lan:1",
            "localhost:9000",
        ] {
            assert!(hosts.has(ours), "{ours}");
        }
        for foreign in [
            "",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:9001",
            "evil.example:8080",
            "10.0.0.1:8080",
            "localhost.evil.example:8080",
            "127.0.0.1:8080:8080",
            "127.0.0.1.evil.example:8080",
            "[::1]",
            "127.0.0.1:8080 ",
            "127.0.0.1:08o80",
            "127.0.0.1:+8080",
            "127.0.0.1:08080",
            "127.0.0.1:73616",
            "::1:8080",
            "[[::1]]:8080",
            "[127.0.0.1]:8080",
            "[::1%lo]:8080",
            "[::ffff:10.0.0.1]:8080",
            "[::1]:8080]:8080",
            "localhost.:8080",
            "127.0.0.1.:8080",
            "127.1:8080",
            "2130706433:8080",
            "0x7f000001:8080",
            "0177.0.0.1:8080",
            "0.0.0.0:8080",
            "user@127.0.0.1:8080",
            "evil.example@localhost:8080",
            "localhost:8080@evil.example",
            "localhost:8080#",
            "localhost:8080/",
            "gpu1.lan:x",
            "gpu1.lan.",
            "xgpu1.lan",
        ] {
            assert!(!hosts.has(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_remote_run_is_asked_by_any_address_but_not_by_any_name() {
        let hosts = hosts(true, &[]);
        assert!(hosts.has("10.0.0.1:8080") && hosts.has("[fe80::1]:8080"));
        assert!(!hosts.has("evil.example:8080") && !hosts.has("10.0.0.1:80"));
    }
}
