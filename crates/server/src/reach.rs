//! Under which names this server answers, and who can reach it there.
//!
//! Owns the list of addresses, as listeners come and go; `guard` asks it which hosts and origins
//! are this server's, pages ask it what to put into a link.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{PoisonError, RwLock};

use crate::api::types::{ReachAddress, ReachView, ReachWho};

/// The addresses of one server.
pub(crate) struct Reach {
    /// Of the loopback.
    port: u16,
    addresses: RwLock<Vec<Address>>,
}

/// How a listener is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// `http` or `https`.
    scheme: &'static str,
    /// Name or address with the port, as browsers write it into `Host`.
    host: String,
    who: ReachWho,
    /// Whether anybody on the way can read it.
    is_open: bool,
}

impl Address {
    /// The scheme and the host with its port: a link's beginning, and an `Origin`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Of a listener that is not the loopback's.
    pub(crate) fn listened(at: SocketAddr, scheme: &'static str) -> Address {
        let host = with_port(&at.ip().to_string(), at, scheme);
        let is_open = scheme == "http" && !at.ip().is_loopback();
        Address { scheme, host, who: who(at.ip()), is_open }
    }

    /// What `--public-url` says: a proxy or a name of this computer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn public(url: &str) -> Result<Address, String> {
        let bad = |why: &str| Err(format!("{url:?} cannot be the public address: {why}"));
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            _ => return bad("it begins with neither http:// nor https://"),
        };
        let host = rest.trim_end_matches('/').to_ascii_lowercase();
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(good) {
            return bad("give scheme, name and port only");
        }
        let default = if scheme == "http" { ":80" } else { ":443" };
        let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let who = match name.parse::<IpAddr>() {
            Ok(address) => who(address),
            Err(_) if name == "localhost" => ReachWho::ThisComputer,
            Err(_) => ReachWho::Anyone,
        };
        Ok(Address {
            scheme,
            host,
            who,
            is_open: scheme == "http" && who != ReachWho::ThisComputer,
        })
    }
}

impl Reach {
    /// A server on the loopback addresses.
    pub(crate) fn new(port: u16) -> Reach {
        let addresses = ["localhost", "127.0.0.1", "[::1]"].map(|name| Address {
            scheme: "http",
            host: format!("{name}:{port}"),
            who: ReachWho::ThisComputer,
            is_open: false,
        });
        Reach { port, addresses: RwLock::new(addresses.to_vec()) }
    }

    /// It is reached there, too.
    pub(crate) fn add(&self, address: Address) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// It is reached there no more.
    pub(crate) fn remove(&self, address: &Address) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        addresses.retain(|known| known != address);
    }

    /// Where the owner's own link leads.
    pub(crate) fn local(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The address that reaches furthest.
    pub(crate) fn widest(&self) -> String {
        let addresses = self.read();
        let far = addresses.iter().filter(|address| address.who > ReachWho::ThisComputer);
        // Of several that reach as far, the last that was added.
        far.max_by_key(|address| address.who).map_or_else(|| self.local(), Address::url)
    }

    /// Whether this is one of our names, as in `Host`.
    pub(crate) fn knows_host(&self, host: &str) -> bool {
        self.read().iter().any(|address| address.host.eq_ignore_ascii_case(host))
    }

    /// Whether this `Origin` is one of our pages, loaded under the `Host` of the request.
    pub(crate) fn knows_origin(&self, origin: &str, host: &str) -> bool {
        self.read().iter().any(|address| {
            address.host.eq_ignore_ascii_case(host) && address.url().eq_ignore_ascii_case(origin)
        })
    }

    /// What every page has to say: somebody on the way can read along.
    pub(crate) fn warning(&self) -> String {
        match self.read().iter().find(|address| address.is_open) {
            None => String::new(),
            Some(address) => format!(
                "Lines to {} are not encrypted: whoever is on the network can read and change \
                 what goes over them.",
                address.host
            ),
        }
    }

    /// For people. `can_open`: there is a network that it could be opened to.
    pub(crate) fn view(&self, can_open: bool) -> ReachView {
        let addresses = self.read();
        let who = addresses.iter().map(|it| it.who).max().unwrap_or(ReachWho::ThisComputer);
        let mut views: Vec<ReachAddress> = addresses
            .iter()
            // The other two names of the loopback are no news.
            .filter(|it| it.who != ReachWho::ThisComputer || it.host.starts_with("localhost:"))
            .map(|it| ReachAddress { url: it.url(), who: it.who })
            .collect();
        views.sort_by_key(|address| std::cmp::Reverse(address.who));
        let port = self.port;
        let ssh = format!("ssh -N -R {port}:localhost:{port} user@their-computer");
        ReachView { who, addresses: views, ssh, can_open }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Address>> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This computer's address on its network: the one it would use to talk to others. Nothing is sent.
pub(crate) fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation: only the routing table is asked.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn who(address: IpAddr) -> ReachWho {
    let is_near = match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    match (address.is_loopback(), is_near) {
        (true, _) => ReachWho::ThisComputer,
        (false, true) => ReachWho::Network,
        (false, false) => ReachWho::Anyone,
    }
}

/// As browsers write it: the scheme's own port is left out.
fn with_port(name: &str, at: SocketAddr, scheme: &str) -> String {
    let name = if at.is_ipv6() { format!("[{name}]") } else { name.to_owned() };
    match (scheme, at.port()) {
        ("http", 80) | ("https", 443) => name,
        (_, port) => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses() {
        let check = |url: &str, expected: Option<(&str, ReachWho)>| {
            let address = Address::public(url).ok();
            let found = address.map(|it| (it.url(), it.who));
            assert_eq!(found, expected.map(|(url, who)| (url.to_owned(), who)), "{url}");
        };
        check("https://vm.example", Some(("https://vm.example", ReachWho::Anyone)));
        check("https://VM.example:443/", Some(("https://vm.example", ReachWho::Anyone)));
        check("http://10.0.0.7:7333", Some(("http://10.0.0.7:7333", ReachWho::Network)));
        check("http://localhost:8080", Some(("http://localhost:8080", ReachWho::ThisComputer)));
        for bad in
            ["", "vm.example", "ftp://x", "https://", "https://a/b", "https://u@a", "http://a b"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn who_reaches_an_address() {
        let check = |address: &str, expected| {
            assert_eq!(who(address.parse().unwrap()), expected, "{address}");
        };
        check("127.0.0.2", ReachWho::ThisComputer);
        check("::1", ReachWho::ThisComputer);
        check("192.168.1.7", ReachWho::Network);
        check("fd00::1", ReachWho::Network);
        check("203.0.113.9", ReachWho::Anyone);
    }

    #[test]
    fn the_widest_address_goes_into_links_while_it_is_there() {
        let reach = Reach::new(7333);
        assert_eq!(reach.widest(), "http://localhost:7333");
        assert_eq!(reach.warning(), "");
        let network = Address::listened("192.168.1.7:7333".parse().unwrap(), "https");
        let plain = Address::listened("192.168.1.7:7334".parse().unwrap(), "http");
        reach.add(network.clone());
        reach.add(network.clone());
        assert_eq!(reach.widest(), "https://192.168.1.7:7333");
        assert_eq!(reach.warning(), "");
        reach.add(plain.clone());
        assert!(reach.warning().contains("192.168.1.7:7334"));
        let view = reach.view(false);
        let urls: Vec<_> = view.addresses.iter().map(|it| it.url.as_str()).collect();
        assert_eq!(
            urls,
            ["https://192.168.1.7:7333", "http://192.168.1.7:7334", "http://localhost:7333",]
        );
        assert_eq!(view.who, ReachWho::Network);
        for address in [network, plain] {
            reach.remove(&address);
        }
        assert!(!reach.knows_host("192.168.1.7:7333"));
        assert_eq!(reach.view(false).who, ReachWho::ThisComputer);
    }
}
