//! `stackvm up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stackvm_server::{Encryption, Network, OnNetwork};

use super::SandboxArgs;
use crate::format::FormatArgs;

#[derive(Args)]
pub(crate) struct Up {
    /// Port for the page, on loopback [default: 7333, or a free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Print the link without opening a browser
    #[arg(long)]
    pub(crate) no_open: bool,
    /// Debian mirror to take packages from [default: the one of this computer's apt]
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// What becomes of the machines in the end
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnExit::Save)]
    pub(crate) on_exit: OnExit,
    /// Listen on this address, too; needs one of the next five
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Certificate for --listen, with those up to its authority (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "listen"])]
    tls_cert: Option<PathBuf>,
    /// Key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Encrypt with a certificate that nobody vouches for: browsers ask about it once
    #[arg(long, requires = "listen", conflicts_with = "tls_cert")]
    tls_self_signed: bool,
    /// Whoever listens in on the network sees and types everything; every page says so
    #[arg(long, requires = "listen", conflicts_with_all = ["tls_cert", "tls_self_signed"])]
    insecure_http: bool,
    /// A proxy with these addresses is before this server, and encrypts
    #[arg(long, value_name = "CIDR")]
    behind_proxy: Vec<Network>,
    /// Under which address others reach this server, for links
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

/// What becomes of machines when their server ends.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnExit {
    /// They run on
    Keep,
    /// They go on with the next `up` where they are
    Save,
    /// They are asked to switch off
    Stop,
}

impl Up {
    /// The address that is not the loopback's, with what protects it: a neighbour on the network
    /// must not read keys and secrets because somebody left an option out.
    pub(crate) fn on_network(&self) -> Result<Option<OnNetwork>, String> {
        let Some(address) = self.listen else { return Ok(None) };
        let encryption = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Encryption::Files { certificate: certificate.clone(), key: key.clone() }
            }
            _ if self.tls_self_signed => Encryption::SelfSigned,
            _ if !self.behind_proxy.is_empty() => Encryption::Proxy,
            _ if self.insecure_http || address.ip().is_loopback() => Encryption::None,
            _ => return Err(format!("nothing would protect the line to {address}")),
        };
        Ok(Some(OnNetwork { address, encryption }))
    }

    /// Proxies whose word about callers is believed.
    pub(crate) fn proxies(&self) -> Vec<Network> {
        self.behind_proxy.clone()
    }
}
