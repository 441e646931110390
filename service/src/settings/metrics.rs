//! Where metrics and health are served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{SettingsError, Variables};

/// `METRICS_ADDRESS`, whose port is that of the variable `port` where it has none; with that port
/// alone, every interface. Without both nothing is served.
///
/// # Errors
/// If one of them is wrong.
pub(super) fn metrics_address(
    variables: &Variables<'_>,
    port: Option<&str>,
) -> Result<Option<SocketAddr>, SettingsError> {
    const NAME: &str = "METRICS_ADDRESS";
    let number =
        port.map(|port| variables.number_if_any(port, 1..=u16::MAX)).transpose()?.flatten();
    let Some(text) = variables.text(NAME) else {
        return Ok(number.map(|number| (Ipv4Addr::UNSPECIFIED, number).into()));
    };
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    match (text.parse::<IpAddr>(), number) {
        (Ok(ip), Some(number)) => Ok(Some((ip, number).into())),
        _ => {
            let with = |port| format!(", or as ip where {port} is set");
            let expected = format!("an address as ip:port{}", port.map(with).unwrap_or_default());
            Err(SettingsError::invalid(NAME, &text, expected))
        }
    }
}
