//! Certificates: somebody's own from files, or one that signs itself. Owns nothing of the lines
//! that they protect.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}; check its path and rights", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {what}: {problem}; give a PEM file with one", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        problem: pem::Error,
    },
    /// The two do not fit, or cannot be used.
    #[error(
        "{} and {} cannot be used together: {problem}; give a certificate and its own key",
        certificate.display(), key.display()
    )]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        problem: rustls::Error,
    },
    /// A certificate that was made cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// None could be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// With a certificate and a key from PEM files.
pub(crate) fn from_files(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
    };
    let bad = |path: &Path, what| {
        let path = path.to_owned();
        move |problem| TlsError::Pem { path, what, problem }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(bad(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(bad(certificate, "certificate")(pem::Error::NoItemsFound));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(bad(key, "private key"))?;
    acceptor(chain, key_der).map_err(|problem| TlsError::Unfit {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        problem,
    })
}

/// With a new certificate for these addresses that nobody vouches for: browsers ask about it once.
pub(crate) fn self_signed(addresses: &[IpAddr]) -> Result<TlsAcceptor, TlsError> {
    let names = addresses.iter().map(IpAddr::to_string);
    let names: Vec<String> = names.chain(["localhost".to_owned()]).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(acceptor(vec![made.cert.der().clone()], key.into())?)
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
