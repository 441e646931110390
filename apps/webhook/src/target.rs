//! Where a webhook goes: a URL that may be posted to, as far as its text says.

use hyper::Uri;
use hyper::header::HeaderValue;
use url::{Host, Url};

/// The longest URL, in bytes as it is sent: what is no ASCII is longer than in the job.
const URL_LIMIT_BYTES: usize = 8 * 1024;

/// Where a webhook goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
    /// Without brackets, and without the dot that a name may end with.
    host: String,
    /// Its path and query, as a request has them.
    pub(crate) uri: Uri,
    /// The value of the header `Host`.
    pub(crate) authority: HeaderValue,
}

impl Target {
    /// Reads a URL, as browsers do (WHATWG): `http://0x7f.1/` has the address 127.0.0.1.
    ///
    /// # Errors
    /// What was found, and what is expected; nothing of the URL itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("found a control character, expected none".to_owned());
        }
        Self::of(Url::parse(text).map_err(|error| format!("found no URL ({error})"))?)
    }

    /// Where an answer from here redirects to.
    ///
    /// # Errors
    /// As those of [`parse`](Self::parse); also if an encrypted target would become a plain one.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, String> {
        let url = self.url.join(location).map_err(|error| format!("found no URL ({error})"))?;
        if self.is_encrypted() && url.scheme() != "https" {
            return Err("found one without TLS, expected https".to_owned());
        }
        Self::parse(url.as_str())
    }

    fn of(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("found another scheme, expected http or https".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("found a user, expected none (Headers can have Authorization)".to_owned());
        }
        url.set_fragment(None);
        let bytes = url.as_str().len();
        if bytes > URL_LIMIT_BYTES {
            return Err(format!("found {bytes} bytes, expected at most {URL_LIMIT_BYTES}"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        };
        if host.is_empty() || url.port() == Some(0) {
            return Err("found no host and port, expected some".to_owned());
        }
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = url.port().map_or_else(|| shown.clone(), |port| format!("{shown}:{port}"));
        let path = &url[url::Position::BeforePath..];
        Ok(Self {
            uri: path.parse().map_err(|error| format!("found no path ({error})"))?,
            authority: HeaderValue::try_from(authority).map_err(|error| error.to_string())?,
            host,
            url,
        })
    }

    /// The host, a name or an address: limits and circuits are by it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Its port, or that of its scheme.
    pub(crate) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether a request to the other one may have the same credentials.
    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }
}
