//! The certificate that a server makes for itself when it starts.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How a connection becomes encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS is offered (RFC 3207).
    StartTls,
    /// The handshake comes first, as on port 465 (RFC 8314).
    Implicit,
}

/// No certificate could be made for the names that were given.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for the names {names:?}: {reason}; expected host names or IP addresses")]
pub struct CertificateError {
    names: Vec<String>,
    reason: String,
}

/// A certificate of a CA that exists only for this server, or one that is its own.
pub(crate) struct Certificate {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

impl Certificate {
    pub(crate) fn new(names: &[String], self_made: Option<&str>) -> Result<Self, CertificateError> {
        let made = match self_made {
            Some(common_name) => Self::make_itself(names, common_name),
            None => Self::make(names),
        };
        made.map_err(|error| CertificateError { names: names.to_vec(), reason: error.to_string() })
    }

    fn make(names: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, "jobstream-testkit CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let mut server = CertificateParams::new(names.to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "jobstream-testkit");
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;
        Self::with(&certificate, &key, ca_pem)
    }

    fn make_itself(
        names: &[String],
        common_name: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem();
        Self::with(&certificate, &key, pem)
    }

    fn with(
        certificate: &rcgen::Certificate,
        key: &KeyPair,
        ca_pem: String,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem })
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificate").finish_non_exhaustive()
    }
}
