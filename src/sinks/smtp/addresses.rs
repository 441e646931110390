//! The addresses of a host: their order, and how they are tried (RFC 8305, sections 4 and 5).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

/// How long an address is tried before the next one is tried beside it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many addresses are known to have been reached in vain.
const IN_VAIN_MAX: usize = 16;

/// The addresses that were reached in vain, each once; the one of late stands last.
#[derive(Debug, Default)]
pub(super) struct InVain(Vec<IpAddr>);

impl InVain {
    /// An address was reached in vain.
    pub(super) fn add(&mut self, address: IpAddr) {
        self.0.retain(|known| *known != address);
        if self.0.len() == IN_VAIN_MAX {
            self.0.remove(0);
        }
        self.0.push(address);
    }
}

/// The order in which addresses are tried: as they were found, the two families by turns, beginning
/// with the family of the first; those that were reached in vain go to the end, so that each of them
/// has its turn before one is tried again.
pub(super) fn in_order(
    found: impl IntoIterator<Item = SocketAddr>,
    in_vain: &InVain,
) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let begins_with_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    // The sort is stable.
    ordered.sort_by_key(|address| in_vain.0.iter().position(|it| *it == address.ip()));
    ordered
}

/// The first connection that comes about. Another address is tried every 250 ms, and whenever one
/// has failed; the others are given up then.
///
/// # Errors
/// If every address has failed: each with its reason.
pub(super) async fn first_to_connect<T, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut left = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = left.next() {
            let attempt = connect(address);
            under_way.push(async move { (address, attempt.await) });
        }
        let has_more = !left.as_slice().is_empty();
        tokio::select! {
            biased;
            ended = under_way.next() => match ended {
                Some((_, Ok(connected))) => return Ok(connected),
                Some((address, Err(error))) => failed.push((address, error)),
                None => return Err(none_of(failed)),
            },
            () = sleep(ATTEMPT_DELAY), if has_more => {}
        }
    }
}

fn none_of(mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failed.len() == 1
        && let Some((_, error)) = failed.pop()
    {
        return error;
    }
    let Some((_, first)) = failed.first() else {
        return io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    };
    let reasons = failed.iter().map(|(address, error)| format!("{}: {error}", address.ip()));
    io::Error::new(first.kind(), reasons.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 25)).collect()
    }

    #[test]
    fn families_take_turns_and_what_was_of_no_use_comes_last() {
        let found = addresses(&["::1", "::2", "::2", "::3", "192.0.2.1", "192.0.2.2"]);
        let expected = addresses(&["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"]);
        let mut in_vain = InVain::default();
        assert_eq!(in_order(found.clone(), &in_vain), expected);
        let expected = addresses(&["192.0.2.1", "::2", "192.0.2.2", "::3", "::1"]);
        in_vain.add("::1".parse().unwrap());
        assert_eq!(in_order(found, &in_vain), expected);
    }

    #[test]
    fn every_address_has_its_turn_however_many_of_them_are_of_no_use() {
        let all = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
        let (mut in_vain, mut tried) = (InVain::default(), Vec::new());
        for _ in 0..2 * all.len() {
            let first = in_order(all.clone(), &in_vain)[0];
            in_vain.add(first.ip());
            tried.push(first);
        }
        assert_eq!(tried, [all.clone(), all].concat());
        (0..100).for_each(|last| in_vain.add(IpAddr::from([192, 0, 2, last])));
        assert_eq!(in_vain.0.len(), IN_VAIN_MAX);
    }

    /// What an address does when it is tried, and when.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        Answers(u64),
        Refuses(u64),
        Nothing,
    }

    fn does() -> impl Strategy<Value = Does> {
        prop_oneof![
            (0..2_000_u64).prop_map(Does::Answers),
            (0..2_000_u64).prop_map(Does::Refuses),
            Just(Does::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn an_address_that_answers_is_reached_whatever_the_others_do(
            all in proptest::collection::vec(does(), 1..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let list: Vec<_> = (1..=all.len())
                .map(|last| SocketAddr::from(([192, 0, 2, u8::try_from(last).unwrap()], 25)))
                .collect();
            let begun = Mutex::new(Vec::new());
            let connected = runtime.block_on(async {
                let start = Instant::now();
                let connect = |address: SocketAddr| {
                    let place = list.iter().position(|it| *it == address).unwrap();
                    begun.lock().unwrap().push((place, start.elapsed()));
                    let does = all[place];
                    async move {
                        match does {
                            Does::Answers(ms) => {
                                sleep(Duration::from_millis(ms)).await;
                                Ok(place)
                            }
                            Does::Refuses(ms) => {
                                sleep(Duration::from_millis(ms)).await;
                                Err(io::ErrorKind::ConnectionRefused.into())
                            }
                            Does::Nothing => std::future::pending().await,
                        }
                    }
                };
                let limit = Duration::from_secs(60);
                tokio::time::timeout(limit, first_to_connect(list.clone(), connect)).await
            });
            let begun = begun.into_inner().unwrap();
            prop_assert!(begun.iter().map(|(place, _)| *place).eq(0..begun.len()), "{begun:?}");
            let answers = all.iter().any(|it| matches!(it, Does::Answers(_)));
            let is_silent = all.iter().any(|it| matches!(it, Does::Nothing));
            match connected {
                Ok(Ok(place)) => prop_assert!(matches!(all[place], Does::Answers(_))),
                Ok(Err(error)) => {
                    prop_assert!(!answers && !is_silent, "{error}");
                    prop_assert_eq!(begun.len(), all.len());
                }
                Err(_) => prop_assert!(!answers && is_silent),
            }
            // None waits for longer than its turn.
            for (place, at) in begun {
                let turn = ATTEMPT_DELAY * u32::try_from(place).unwrap();
                prop_assert!(at <= turn + Duration::from_millis(2 * (place as u64)), "{at:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_host_of_which_no_address_answers_says_what_became_of_each() {
        let refuse = |address: SocketAddr| async move {
            Err::<(), _>(io::Error::other(format!("no to {}", address.port())))
        };
        let error = first_to_connect(addresses(&["::1", "192.0.2.1"]), refuse).await.unwrap_err();
        assert_eq!(error.to_string(), "::1: no to 25; 192.0.2.1: no to 25");
        let error = first_to_connect(addresses(&["::1"]), refuse).await.unwrap_err();
        assert_eq!(error.to_string(), "no to 25");
        let error = first_to_connect(Vec::new(), refuse).await.unwrap_err();
        assert_eq!(error.to_string(), "the host has no address");
    }
}
