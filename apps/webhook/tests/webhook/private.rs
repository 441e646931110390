//! Nobody reaches by a webhook what only this machine can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jobstream::sinks::JobErrorKind;
use jobstream_service::outbound::is_public;
use proptest::prelude::*;

use crate::receiver::{Act, InMemory, PUBLIC, Receiver};
use crate::support::{block_on, execute, settings, sink, sink_with, to};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_public_is_known() {
    for address in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(ip(address)), "{address}");
    }
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
    ] {
        assert!(is_public(ip(address)), "{address}");
    }
}

proptest! {
    /// By what the standard library knows of addresses.
    #[test]
    fn no_address_that_is_special_by_its_kind_is_public(v4 in any::<u32>(), v6 in any::<u128>()) {
        let v4 = Ipv4Addr::from(v4);
        let is_special = v4.is_loopback() || v4.is_private() || v4.is_link_local()
            || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast();
        prop_assert!(!(is_special && is_public(v4.into())), "{v4}");
        prop_assert!(!is_public(v4.to_ipv6_mapped().into()), "{v4}");
        let v6 = Ipv6Addr::from(v6);
        let is_special = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            || v6.is_unspecified() || v6.is_multicast();
        prop_assert!(!(is_special && is_public(v6.into())), "{v6}");
    }

    /// Of all addresses that a name has, only public ones are connected to.
    #[test]
    fn a_connection_goes_to_an_address_that_was_checked(
        found in prop::collection::vec(prop_oneof![
            any::<u32>().prop_map(|it| IpAddr::from(Ipv4Addr::from(it))),
            any::<u128>().prop_map(|it| IpAddr::from(Ipv6Addr::from(it))),
            Just(ip("10.0.0.1")), Just(ip("::1")), Just(PUBLIC),
        ], 1..5),
    ) {
        block_on(async {
            let network = InMemory::to(&Receiver::always(Act::answer(200)));
            network.name("example.org", &[&found, &[ip("127.0.0.1")]]);
            let outcome = execute(&sink(&network), &to("http://example.org/")).await;
            let expected = found.iter().find(|address| is_public(**address));
            let connected: Vec<_> = network.connected().iter().map(|it| it.ip()).collect();
            prop_assert_eq!(connected, Vec::from_iter(expected.copied()));
            let kind = outcome.err().map(|error| error.kind());
            prop_assert_eq!(kind, expected.is_none().then_some(JobErrorKind::Permanent));
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_in_a_url_is_refused_however_it_is_written() {
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "127.0.0.1.",
    ] {
        let network = InMemory::to(&Receiver::always(Act::answer(200)));
        network.name("localhost", &[&[ip("127.0.0.1"), ip("::1")]]);
        let url = format!("http://{host}/");
        let error = execute(&sink(&network), &to(&url)).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Permanent, "{url}");
        assert!(error.reason().contains("WEBHOOK_ALLOW_PRIVATE=true"), "{error}");
        assert!(network.connected().is_empty(), "{url}");
        let mut settings = settings();
        settings.allow_private = true;
        assert!(execute(&sink_with(settings, &network), &to(&url)).await.is_ok(), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_address_of_a_host_is_tried_where_the_first_is_away() {
    let network = InMemory::to(&Receiver::always(Act::answer(200)));
    network.name("example.org", &[&[ip("10.0.0.1"), ip("8.8.8.8"), PUBLIC]]);
    network.is_away(ip("8.8.8.8"));
    assert!(execute(&sink(&network), &to("http://example.org/")).await.is_ok());
    let connected: Vec<_> = network.connected().iter().map(|it| it.ip()).collect();
    assert_eq!(connected, [ip("8.8.8.8"), PUBLIC]);
}
