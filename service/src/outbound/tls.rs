//! TLS of connections that we open.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whose certificates count: those of the system's authorities, and of others.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(super) config: Arc<ClientConfig>,
    authorities: usize,
}

impl Trust {
    /// The authorities of the system, and those in PEM. Connections speak HTTP/1.1.
    ///
    /// # Errors
    /// If there is no certificate in the PEM, one that is none, or a private key.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = ca_pem {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let found = found.map_err(|error| error.to_string())?;
            if found.is_empty() {
                return Err("no certificate".to_owned());
            }
            if PrivateKeyDer::pem_slice_iter(pem).next().is_some() {
                return Err("a private key".to_owned());
            }
            for certificate in found {
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        let authorities = roots.len();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), authorities })
    }

    /// How many authorities there are; with none, no certificate counts.
    pub const fn authorities(&self) -> usize {
        self.authorities
    }
}
