//! Where metrics and health are served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jobstream_service::{SettingsError, Variables};

/// `METRICS_ADDRESS`, whose port is `EMAIL_SERVICE_PORT` where it has none; with that port alone,
/// every interface. Without both nothing is served.
pub(super) fn address(variables: &Variables<'_>) -> Result<Option<SocketAddr>, SettingsError> {
    const NAME: &str = "METRICS_ADDRESS";
    let port = variables.number_if_any("EMAIL_SERVICE_PORT", 1..=u16::MAX)?;
    let Some(text) = variables.text(NAME) else {
        return Ok(port.map(|port| (Ipv4Addr::UNSPECIFIED, port).into()));
    };
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    let expected = "an address as ip:port, or as ip where EMAIL_SERVICE_PORT is set";
    match (text.parse::<IpAddr>(), port) {
        (Ok(ip), Some(port)) => Ok(Some((ip, port).into())),
        _ => Err(SettingsError::invalid(NAME, &text, expected)),
    }
}
