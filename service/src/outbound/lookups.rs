//! The system's look-ups of names: of each name one at a time, which all who ask for it share.
//!
//! The system can't be told to give up (`getaddrinfo`). Where no name server answers, a look-up goes
//! on for half a minute and more after nobody waits for it. So each has a thread of its own, and
//! never one of the runtime's, whose number is limited and which the end of the runtime waits for;
//! and whoever asks for the same name meanwhile joins it, so that such a name has one thread.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use futures::FutureExt as _;
use futures::future::Shared;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The look-ups under way at once, and so the threads, at most; others wait for one of them to end.
const LOOKUPS_MAX: usize = 256;

type Found = Result<Vec<IpAddr>, Arc<io::Error>>;

/// Finds the addresses of a name, and blocks until then.
type Ask = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What looks names up.
#[derive(Clone)]
pub(super) struct Lookups {
    ask: Ask,
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Shared<oneshot::Receiver<Found>>>>>,
}

impl Lookups {
    fn new(ask: Ask, lookups_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(lookups_max));
        Self { ask, places, under_way: Arc::default() }
    }

    /// The addresses of a name.
    ///
    /// # Cancellation
    /// Dropping the future does not end the look-up, which the next one who asks for the name joins.
    ///
    /// # Errors
    /// If it has none, or nobody can be asked.
    pub(super) async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let joined = self.under_way().get(name).cloned();
        let lookup = match joined {
            Some(lookup) => lookup,
            None => {
                let place = self.places.clone().acquire_owned().await;
                self.begin(name, place.map_err(io::Error::other)?)?
            }
        };
        match lookup.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Begins a look-up in this place, unless another one has begun that of the same name meanwhile.
    fn begin(
        &self,
        name: &str,
        place: OwnedSemaphorePermit,
    ) -> io::Result<Shared<oneshot::Receiver<Found>>> {
        let mut under_way = self.under_way();
        if let Some(lookup) = under_way.get(name) {
            return Ok(lookup.clone());
        }
        let (ends, end) = oneshot::channel();
        let (lookups, own_name) = (self.clone(), name.to_owned());
        let work = move || {
            let found = (lookups.ask)(&own_name).map_err(Arc::new);
            lookups.under_way().remove(&own_name);
            drop(place);
            // Nobody may wait for it any more.
            _ = ends.send(found);
        };
        Builder::new().name("lookup".to_owned()).spawn(work)?;
        let lookup = end.shared();
        under_way.insert(name.to_owned(), lookup.clone());
        Ok(lookup)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Shared<oneshot::Receiver<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Lookups {
    /// Asks the system.
    fn default() -> Self {
        let ask = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|found| found.ip()).collect());
        Self::new(Arc::new(ask), LOOKUPS_MAX)
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::timeout;

    use super::*;

    const FOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
    /// Within it something that must not happen would have happened.
    const MOMENT: Duration = Duration::from_millis(50);

    const LIMIT: Duration = Duration::from_secs(10);

    /// Finds every name at once, but those that begin with `dead`: each message ends one of them.
    fn lookups(lookups_max: usize) -> (Lookups, mpsc::Sender<()>, Arc<Mutex<Vec<String>>>) {
        let (answer, answers) = mpsc::channel();
        let (answers, asked) = (Mutex::new(answers), Arc::<Mutex<Vec<String>>>::default());
        let seen = asked.clone();
        let ask = move |name: &str| {
            seen.lock().unwrap().push(name.to_owned());
            if name.starts_with("dead") {
                answers.lock().unwrap().recv().map_err(io::Error::other)?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no server has answered"));
            }
            Ok(vec![FOUND])
        };
        (Lookups::new(Arc::new(ask), lookups_max), answer, asked)
    }

    #[tokio::test]
    async fn all_who_ask_for_a_name_share_one_look_up_also_after_it_was_given_up() {
        let (lookups, answer, asked) = lookups(8);
        for _ in 0..3 {
            let attempts = join_all((0..8).map(|_| lookups.find("dead.example")));
            assert!(timeout(MOMENT, attempts).await.is_err());
        }
        assert_eq!(*asked.lock().unwrap(), ["dead.example"]);
        let last = join_all((0..8).map(|_| lookups.find("dead.example")));
        let last = timeout(LIMIT, last);
        let (ended, _) = tokio::join!(last, async { answer.send(()) });
        for ended in ended.expect("one answer is for all") {
            assert_eq!(ended.unwrap_err().to_string(), "no server has answered");
        }
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_was_found_is_not_kept() {
        let (lookups, _answer, asked) = lookups(8);
        for _ in 0..2 {
            assert_eq!(lookups.find("a.example").await.unwrap(), [FOUND]);
        }
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_hold_up_others_only_when_they_have_every_place() {
        let (lookups, answer, asked) = lookups(3);
        for name in ["dead-1", "dead-2", "dead-1", "dead-2"] {
            assert!(timeout(MOMENT, lookups.find(name)).await.is_err());
        }
        assert_eq!(lookups.find("a.example").await.unwrap(), [FOUND]);
        assert!(timeout(MOMENT, lookups.find("dead-3")).await.is_err());
        assert!(timeout(MOMENT, lookups.find("b.example")).await.is_err());
        assert_eq!(asked.lock().unwrap().len(), 4);
        let found = timeout(LIMIT, lookups.find("b.example"));
        let (found, _) = tokio::join!(found, async { answer.send(()) });
        assert_eq!(found.expect("a place is free").unwrap(), [FOUND]);
    }
}
