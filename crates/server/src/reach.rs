//! Under which names this server answers, and who can reach it there.
//!
//! Owns the list of addresses, as listeners come and go; `guard` asks it which hosts and origins
//! are this server's, pages ask it what to put into a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
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
    /// Whether people are told of it; further names of what they know already are no news.
    is_said: bool,
}

impl Address {
    /// The scheme and the host with its port: a link's beginning, and an `Origin`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Of a listener that is not the loopback's.
    pub(crate) fn listened(at: SocketAddr, scheme: &'static str) -> Address {
        let name = at.ip().to_string();
        let name = if at.is_ipv6() { format!("[{name}]") } else { name };
        let host = with_port(&name, at.port(), scheme);
        let is_open = scheme == "http" && !at.ip().is_loopback();
        Address { scheme, host, who: who(at.ip()), is_open, is_said: true }
    }

    /// All names of a listener. One on all addresses of this computer is reached by any of them,
    /// also in this computer itself; others know it by those on their network.
    pub(crate) fn all_of(at: SocketAddr, scheme: &'static str) -> Vec<Address> {
        let mut names: Vec<Address> =
            addresses_of(at).into_iter().map(|at| Address::listened(at, scheme)).collect();
        if at.ip().is_unspecified() {
            let host = with_port("localhost", at.port(), scheme);
            let who = ReachWho::ThisComputer;
            names.push(Address { scheme, host, who, is_open: false, is_said: false });
            let is_near = |name: &&mut Address| name.who == ReachWho::ThisComputer;
            names.iter_mut().filter(is_near).for_each(|name| name.is_said = false);
        }
        names
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
            is_said: true,
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
            is_said: name == "localhost",
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
            .filter(|it| it.is_said)
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
    // Addresses for documentation: only the routing table is asked.
    address_towards(Ipv4Addr::new(192, 0, 2, 1).into())
}

/// The addresses that a listener at `at` has: itself, or those that are known of all.
pub(crate) fn addresses_of(at: SocketAddr) -> Vec<SocketAddr> {
    if !at.ip().is_unspecified() {
        return vec![at];
    }
    let mut near: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let mut far = Vec::from_iter(network_address());
    // All of IPv6 are all of IPv4 as well.
    if at.is_ipv6() {
        near.push(Ipv6Addr::LOCALHOST.into());
        far.extend(address_towards(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()));
    }
    if far.is_empty() {
        // Somebody may reach it all the same, and that it is open must be said.
        far.push(at.ip());
    }
    let with_port = |ip| SocketAddr::new(ip, at.port());
    near.into_iter().chain(far).map(with_port).collect()
}

fn address_towards(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
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
fn with_port(name: &str, port: u16, scheme: &str) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => name.to_owned(),
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
    fn a_listener_is_known_by_all_its_names() {
        let check = |at: &str, scheme, hosts: &[&str], who: ReachWho, said: &[&str]| {
            let reach = Reach::new(7333);
            Address::all_of(at.parse().unwrap(), scheme).into_iter().for_each(|it| reach.add(it));
            for host in hosts {
                assert!(reach.knows_host(host), "{at}: {host}");
                assert!(reach.knows_origin(&format!("{scheme}://{host}"), host), "{at}: {host}");
            }
            assert!(!reach.knows_host("evil.example:9"), "{at}");
            let view = reach.view(false);
            assert!(view.who >= who, "{at}: {:?}", view.who);
            for url in said {
                assert!(view.addresses.iter().any(|it| it.url == *url), "{at}: {url}");
            }
            let names = |it: &&ReachAddress| it.who == ReachWho::ThisComputer;
            assert!(view.addresses.iter().filter(names).count() <= 2, "{at}: no noise");
        };
        use ReachWho::*;
        check("[::1]:9", "http", &["[::1]:9"], ThisComputer, &["http://[::1]:9"]);
        check("[::1]:443", "https", &["[::1]"], ThisComputer, &["https://[::1]"]);
        check("127.0.0.2:9", "http", &["127.0.0.2:9"], ThisComputer, &["http://127.0.0.2:9"]);
        check("[fd00::7]:9", "https", &["[fd00::7]:9"], Network, &["https://[fd00::7]:9"]);
        let local = ["localhost:9", "127.0.0.1:9"];
        check("0.0.0.0:9", "https", &local, Network, &[]);
        check("[::]:9", "http", &["localhost:9", "127.0.0.1:9", "[::1]:9"], Network, &[]);
        // Only a listener of this computer keeps its lines in this computer.
        let reach = Reach::new(7333);
        Address::all_of("[::1]:9".parse().unwrap(), "http")
            .into_iter()
            .for_each(|it| reach.add(it));
        assert_eq!((reach.view(false).who, reach.warning().as_str()), (ThisComputer, ""));
        Address::all_of("[::]:9".parse().unwrap(), "http").into_iter().for_each(|it| reach.add(it));
        assert!(!reach.warning().is_empty());
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
