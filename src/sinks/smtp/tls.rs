//! TLS on a stream.
//!
//! webpki accepts no authority's certificate as a server's own, which is what `openssl req -x509`
//! makes. Where the settings name exactly that certificate, no authority needs to vouch for it;
//! host and time are still checked. Only for such a certificate, and only if it has no
//! `subjectAltName`, is the host's name in `commonName` accepted.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::config::{ConfigError, RelayConfig};
use super::connect::Stream;

/// Encrypts streams to one server.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the certificates of the system's authorities, and those of the settings.
    pub(super) fn new(config: &RelayConfig) -> Result<Self, ConfigError> {
        let name = ServerName::try_from(config.host.clone())
            .map_err(|_| ConfigError::Host { found: config.host.clone() })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| unreachable!("ring has every default version: {error}"));
        let verifier: Arc<dyn ServerCertVerifier> = if config.tls_verify {
            Arc::new(Verified::new(config.tls_ca_pem.as_deref(), provider)?)
        } else {
            Arc::new(Unverified(provider))
        };
        let client = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(Self { connector: Arc::new(client.with_no_client_auth()).into(), name })
    }

    /// Shakes hands; cancelling it gives up the stream.
    pub(super) async fn handshake(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.connector.connect(self.name.clone(), stream).await?))
    }
}

/// Why a handshake failed, and what can be done, if it failed for the certificate.
pub(super) fn certificate_fault(error: &io::Error) -> Option<String> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(cause)) = inner else { return None };
    let advice = match cause {
        CertificateError::UnknownIssuer => {
            "; MAIL_TLS_CA_FILE takes the certificate of its authority, or the server's own"
        }
        CertificateError::Other(_) if format!("{cause:?}").contains("CaUsedAsEndEntity") => {
            "; if it is one that the server has made for itself, as `openssl req -x509` does, \
             MAIL_TLS_CA_FILE takes that very certificate"
        }
        CertificateError::Other(_) | CertificateError::BadSignature => {
            "; expected a certificate of X.509 version 3, signed with RSA of 2,048 bits or more, \
             P-256, P-384 or Ed25519"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; expected the name in MAIL_SERVER_HOST to be one of the certificate's"
        }
        _ => "",
    };
    Some(format!("{error}{advice}"))
}

/// Takes certificates that an authority vouches for, and those that the settings name themselves.
#[derive(Debug)]
struct Verified {
    authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of the settings: a server may have one of them itself.
    named: Vec<Named>,
}

/// A certificate that the settings name.
#[derive(Debug)]
struct Named {
    certificate: CertificateDer<'static>,
    /// The `commonName` of its subject: the name of its host, where it has no `subjectAltName`.
    common_name: Option<String>,
}

impl Verified {
    fn new(ca_pem: Option<&[u8]>, provider: Arc<CryptoProvider>) -> Result<Self, ConfigError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        let mut named = Vec::new();
        if let Some(pem) = ca_pem {
            let broken = |error: &dyn Display| ConfigError::CaPem(error.to_string());
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| broken(&error))?;
                roots.add(certificate.clone()).map_err(|error| broken(&error))?;
                let subject = roots.roots.last().map(|root| root.subject.as_ref());
                let common_name = subject.and_then(common_name).map(str::to_owned);
                named.push(Named { certificate, common_name });
            }
            if named.is_empty() {
                return Err(broken(&"no certificate in PEM"));
            }
            if PrivateKeyDer::pem_slice_iter(pem).next().is_some() {
                return Err(broken(&"a private key in PEM"));
            }
        }
        let errors: Vec<_> = native.errors.iter().map(ToString::to_string).collect();
        let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|_| ConfigError::NoAuthorities(errors.join("; ")))?;
        Ok(Self { authorities, named })
    }

    /// A certificate that is its own authority, as a server makes it for itself, is no server's to
    /// webpki. One that the settings name needs no authority that vouches for it: it must be of
    /// this host, and its validity in time is checked already.
    fn is_named(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<bool, Error> {
        let Some(named) = self.named.iter().find(|it| it.certificate == *end_entity) else {
            return Ok(false);
        };
        let verified = verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name);
        let Err(error) = verified else { return Ok(true) };
        let has_no_name = matches!(
            &error,
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
                if presented.is_empty()
        );
        let host = server_name.to_str();
        let is_host = |name: &String| name.eq_ignore_ascii_case(&host);
        if has_no_name && named.common_name.as_ref().is_some_and(is_host) {
            return Ok(true);
        }
        Err(error)
    }
}

/// The `commonName` in a subject: its object identifier 2.5.4.3, then the value with its tag and
/// length (X.690).
fn common_name(subject: &[u8]) -> Option<&str> {
    const OBJECT_IDENTIFIER: [u8; 5] = [6, 3, 0x55, 4, 3];
    let size = OBJECT_IDENTIFIER.len();
    let at = subject.windows(size).rposition(|bytes| bytes == OBJECT_IDENTIFIER)?;
    let [_tag, length @ ..=127, rest @ ..] = &subject[at + size..] else { return None };
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        let verified = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
            ))
            | Ok(_) => verified,
            Err(error) if self.is_named(end_entity, server_name)? => {
                drop(error);
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Takes any certificate, and still wants the handshake to be signed with it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
