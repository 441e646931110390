//! The client at the other end of a connection.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// A client, by its address: one of IPv4, or the /64 network of one of IPv6, in which a machine can
/// choose any address. Behind a proxy every client is the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(IpAddr);

/// The bits of an IPv6 address that name its network.
const NETWORK: u128 = !0 << 64;

impl Client {
    /// The client at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & NETWORK)),
            ip => ip,
        })
    }
}

/// The client of a request that [`serve`](fn@super::serve) has taken; one without a connection is
/// that of the unspecified address.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let nowhere = Self(Ipv6Addr::UNSPECIFIED.into());
        Ok(parts.extensions.get().copied().unwrap_or(nowhere))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_of_ipv4_or_a_network_of_ipv6() {
        let client = |address: &str| Client::at(address.parse().unwrap());
        assert_eq!(client("192.0.2.1:1"), client("192.0.2.1:2"));
        assert_eq!(client("192.0.2.1:1"), client("[::ffff:192.0.2.1]:2"));
        assert_ne!(client("192.0.2.1:1"), client("192.0.2.2:1"));
        assert_eq!(client("[2001:db8::1]:1"), client("[2001:db8::ffff:0:0:1]:1"));
        assert_ne!(client("[2001:db8::1]:1"), client("[2001:db8:0:1::1]:1"));
    }
}
