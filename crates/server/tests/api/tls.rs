//! Lines that are encrypted, with whole handshakes, and addresses of both kinds.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;
use stackvm_server::{Encryption, ListenError, OnNetwork, Options, Running, TlsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::site::{Answer, Site, Who, options, request, token};

/// Looks at a certificate and believes nothing: what it saw is checked by the next handshake.
#[derive(Debug, Default)]
struct Look(Mutex<Option<CertificateDer<'static>>>);

fn only_looked_at() -> Error {
    Error::General("it was only looked at".to_owned())
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = Some(certificate.clone().into_owned());
        Err(only_looked_at())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_looked_at())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_looked_at())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn connector(verifier: Result<CertificateDer<'static>, Arc<Look>>) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = match verifier {
        Ok(trusted) => {
            let mut roots = RootCertStore::empty();
            roots.add(trusted).unwrap();
            builder.with_root_certificates(roots)
        }
        Err(look) => builder.dangerous().with_custom_certificate_verifier(look),
    };
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

/// The certificate that is presented at `at`.
fn presented(site: &Site, at: SocketAddr) -> CertificateDer<'static> {
    let look = Arc::new(Look::default());
    let name = ServerName::from(at.ip());
    let handshake = async {
        let stream = TcpStream::connect(at).await.unwrap();
        connector(Err(look.clone())).connect(name, stream).await
    };
    assert!(site.runtime.block_on(handshake).is_err(), "it is only looked at");
    look.0.lock().unwrap().take().expect("a certificate")
}

/// `GET /healthz` over TLS, by a client that trusts this certificate and knows the server as `name`.
fn ask(
    site: &Site,
    at: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
) -> io::Result<Answer> {
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let host = if at.is_ipv6() && name.contains(':') { format!("[{name}]") } else { name.into() };
    let port = at.port();
    let text = format!("GET /healthz HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
    site.runtime.block_on(async {
        let stream = TcpStream::connect(at).await?;
        let mut line = connector(Ok(trusted.clone())).connect(server, stream).await?;
        line.write_all(text.as_bytes()).await?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(answer) = Answer::parse(&bytes) {
                return Ok(answer);
            }
            match line.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    })
}

/// Another server, which listens there, too.
struct Other {
    running: Running,
    owner: Who,
    _data: tempfile::TempDir,
}

fn on_network(data: &Path, address: &str, encryption: Encryption) -> Options {
    let listen = OnNetwork { address: address.parse().unwrap(), encryption };
    Options { listen: Some(listen), ..options(data) }
}

impl Other {
    fn new(site: &Site, address: &str, encryption: Encryption) -> Other {
        let data = tempfile::tempdir().unwrap();
        let running = site.listen(on_network(data.path(), address, encryption)).unwrap();
        let nobody = Who { addr: running.addr, key: None };
        let owner = nobody.enter(&json!({"token": token(&running.url)}));
        Other { running, owner, _data: data }
    }

    /// The addresses that people are told of.
    fn urls(&self) -> Vec<String> {
        let reach = self.owner.get("/api/reach").json();
        let url = |it: &serde_json::Value| it["url"].as_str().unwrap().to_owned();
        reach["addresses"].as_array().unwrap().iter().map(url).collect()
    }

    /// Where it listens besides its loopback's port, by what it tells people.
    fn other_port(&self) -> u16 {
        let own = format!(":{}", self.running.addr.port());
        let url = self.urls().into_iter().find(|url| !url.ends_with(&own)).expect("an address");
        url.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

pub(crate) fn a_certificate_that_signs_itself(site: Site) {
    for (address, names) in
        [("127.0.0.3:0", &["127.0.0.3", "localhost"][..]), ("[::1]:0", &["::1", "localhost"])]
    {
        let other = Other::new(&site, address, Encryption::SelfSigned);
        let mut at: SocketAddr = address.parse().unwrap();
        at.set_port(other.other_port());
        let certificate = presented(&site, at);
        let answer = ask(&site, at, names[0], &certificate).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]));
        // The name is on the certificate; as a `Host` it is nobody's here.
        assert_eq!(ask(&site, at, names[1], &certificate).unwrap().status, 421);
        assert!(ask(&site, at, "evil.example", &certificate).is_err(), "another name");
        // A neighbour with a certificate of their own is not taken for it.
        let forged = rcgen::generate_simple_self_signed([names[0].to_owned()]).unwrap();
        assert!(ask(&site, at, names[0], forged.cert.der()).is_err(), "another certificate");
    }
}

pub(crate) fn a_certificate_from_files(site: Site) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let make = || rcgen::generate_simple_self_signed(["127.0.0.3".to_owned()]).unwrap();
    let (own, others) = (make(), make());
    let certificate = write("own.pem", &own.cert.pem());
    let key = write("own.key", &own.signing_key.serialize_pem());
    let files = |certificate: &PathBuf, key: &PathBuf| {
        let (certificate, key) = (certificate.clone(), key.clone());
        Encryption::Files { certificate, key }
    };
    let other = Other::new(&site, "127.0.0.3:0", files(&certificate, &key));
    let at = SocketAddr::new([127, 0, 0, 3].into(), other.other_port());
    assert_eq!(presented(&site, at), *own.cert.der());
    assert_eq!(ask(&site, at, "127.0.0.3", own.cert.der()).unwrap().status, 200);
    assert!(ask(&site, at, "127.0.0.3", others.cert.der()).is_err(), "another certificate");

    let data = tempfile::tempdir().unwrap();
    let check = |certificate: &PathBuf, key: &PathBuf, wrong: &PathBuf, why: &str| {
        let wish = on_network(data.path(), "127.0.0.3:0", files(certificate, key));
        let error = site.listen(wish).err().unwrap();
        assert!(matches!(error, ListenError::Tls(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains(&wrong.display().to_string()) && text.contains(why), "{text}");
        assert!(text.contains("; "), "what to do is missing: {text}");
    };
    let (text, empty) = (write("text", "no certificate\n"), write("empty", ""));
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let broken = write("broken", broken);
    let missing = folder.path().join("missing.pem");
    let alien = write("alien.key", &others.signing_key.serialize_pem());
    check(&missing, &key, &missing, "cannot read");
    check(&certificate, &missing, &missing, "cannot read");
    for wrong in [&text, &empty, &broken, &key] {
        check(wrong, &key, wrong, "holds no certificate");
    }
    for wrong in [&text, &empty, &certificate] {
        check(&certificate, wrong, wrong, "holds no private key");
    }
    check(&certificate, &alien, &certificate, "cannot be used together");
    check(&certificate, &alien, &alien, "cannot be used together");
    let wish = on_network(data.path(), "127.0.0.3:0", files(&missing, &key));
    assert!(matches!(site.listen(wish), Err(ListenError::Tls(TlsError::Read { .. }))));
}

pub(crate) fn addresses_of_ipv6(site: Site) {
    let other = Other::new(&site, "[::1]:0", Encryption::None);
    let reach = other.owner.get("/api/reach").json();
    assert_eq!(reach["who"], "this_computer", "{reach}");
    let port = other.other_port();
    assert!(other.urls().contains(&format!("http://[::1]:{port}")), "{:?}", other.urls());
    let get = |at: &str, host: &str| {
        let headers = [("host", host), ("connection", "close")];
        request(at.parse().unwrap(), "GET", "/healthz", &headers, b"").status
    };
    let at = format!("[::1]:{port}");
    assert_eq!(get(&at, &at), 200);
    // A page whose name was made to point here, and a port that is another server's.
    for host in ["evil.example", "[::1]", "[::1]:1", &format!("[::2]:{port}")] {
        assert_eq!(get(&at, host), 421, "{host}");
    }

    // All addresses of this computer.
    let other = Other::new(&site, "[::]:0", Encryption::None);
    let reach = other.owner.get("/api/reach").json();
    assert_ne!(reach["who"], "this_computer", "{reach}");
    let port = other.other_port();
    for host in ["[::1]", "127.0.0.1"] {
        let at = format!("{host}:{port}");
        assert_eq!(get(&at, &at), 200, "{at}");
        assert_eq!(get(&at, &format!("localhost:{port}")), 200, "{at}");
        assert_eq!(get(&at, "evil.example"), 421, "{at}");
    }
}

pub(crate) fn opening_the_network_disturbs_nobody(site: Site) {
    site.running_machine("web");
    let mut page = site.owner.page("web", None);
    page.find_type("welcome").unwrap();
    let ping = |page: &mut crate::site::Socket, nonce: u32| {
        page.say(&json!({"type": "ping", "nonce": nonce, "lag_ms": null}));
        page.find(|it| it["type"] == "pong" && it["nonce"] == nonce).expect("the line is there");
    };
    ping(&mut page, 1);
    let opened = site.owner.post("/api/reach/network", &json!({"security": "self_signed"}));
    assert_eq!(opened.status, 200, "{opened:?}");
    let url = format!("https://127.0.0.2:{}", site.addr.port());
    assert!(opened.json()["addresses"].to_string().contains(&url), "{opened:?}");
    let at = SocketAddr::new([127, 0, 0, 2].into(), site.addr.port());
    let certificate = presented(&site, at);
    assert_eq!(ask(&site, at, "127.0.0.2", &certificate).unwrap().status, 200);
    ping(&mut page, 2);
    assert_eq!(site.owner.delete("/api/reach/network").status, 204);
    assert!(ask(&site, at, "127.0.0.2", &certificate).is_err());
    ping(&mut page, 3);
    assert_eq!(site.owner.get("/api/machines/web").json()["state"], "running");
}
