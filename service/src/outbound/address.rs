//! Addresses that a job may name: those of the internet, and no others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are no public unicast addresses, each with the bits of its prefix (IANA's
/// registry of special-purpose addresses, RFC 6890; multicast; reserved).
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Metadata services of clouds are here.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Of a metadata service, though it is public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Blocks within the global unicast addresses of IPv6 that stand for others or for nobody: protocol
/// assignments with Teredo, documentation, 6to4.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// All global unicast addresses of IPv6 (RFC 4291, section 2.4, and IANA's assignments): mapped ones,
/// those of NAT64, unique local, link-local and multicast ones are outside.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether an address is a public unicast address, which any job may name. An IPv6 address that
/// carries one of IPv4 is none.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => !SPECIAL_V4
            .iter()
            .any(|(block, bits)| (u32::from(it) ^ u32::from(*block)).leading_zeros() >= *bits),
        IpAddr::V6(it) => is_in(it, &GLOBAL_V6) && !SPECIAL_V6.iter().any(|block| is_in(it, block)),
    }
}

fn is_in(address: Ipv6Addr, (block, bits): &(Ipv6Addr, u32)) -> bool {
    (u128::from(address) ^ u128::from(*block)).leading_zeros() >= *bits
}
