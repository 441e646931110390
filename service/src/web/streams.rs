//! Streams of events: how many at once, and their end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The right to streams of events, which end when the page closes; clones share it. `V` is whose
/// they are: a client's or a customer's.
#[derive(Clone, Debug)]
pub struct Streams<V: Ord> {
    stopped: watch::Receiver<bool>,
    places: Arc<Places<V>>,
}

#[derive(Debug)]
struct Places<V: Ord> {
    streams_max: usize,
    streams_of_one_max: usize,
    /// How many each visitor has; one that has none is not in the map.
    open: Mutex<BTreeMap<V, usize>>,
}

impl<V: Ord + Clone> Streams<V> {
    /// At most so many at once, and so many of one visitor; all end when `stopped` turns true.
    pub fn new(
        streams_max: usize,
        streams_of_one_max: usize,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let open = Mutex::default();
        Self { stopped, places: Arc::new(Places { streams_max, streams_of_one_max, open }) }
    }

    /// The right to one stream, or none if all are taken, or the visitor has its share.
    pub fn begin(&self, visitor: V) -> Option<Stream<V>> {
        let mut open = self.places.open();
        let own = open.get(&visitor).copied().unwrap_or(0);
        let all: usize = open.values().sum();
        if own >= self.places.streams_of_one_max || all >= self.places.streams_max {
            return None;
        }
        open.insert(visitor.clone(), own + 1);
        let (stopped, places) = (self.stopped.clone(), Arc::clone(&self.places));
        Some(Stream { stopped, visitor, places })
    }
}

impl<V: Ord> Places<V> {
    fn open(&self) -> MutexGuard<'_, BTreeMap<V, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one stream of events, given back when it is dropped.
pub struct Stream<V: Ord> {
    stopped: watch::Receiver<bool>,
    visitor: V,
    places: Arc<Places<V>>,
}

impl<V: Ord> Stream<V> {
    /// Completes when the page closes.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<V> {
        let mut stopped = self.stopped.clone();
        async move {
            // Without its sender the server has ended.
            let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
        }
    }
}

impl<V: Ord> Drop for Stream<V> {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Some(own) = open.get_mut(&self.visitor) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.visitor);
            }
        }
    }
}

impl<V: Ord> fmt::Debug for Stream<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_visitor_has_a_share_of_the_streams_and_gives_it_back() {
        let (_stop, stopped) = watch::channel(false);
        let streams = Streams::new(3, 2, stopped);
        let held = [streams.begin("a"), streams.begin("a")];
        assert!(held.iter().all(Option::is_some));
        assert!(streams.begin("a").is_none(), "its share is two");
        let other = streams.begin("b");
        assert!(other.is_some() && streams.begin("c").is_none(), "there are three");
        drop(held);
        assert!(streams.begin("a").is_some());
        drop(other);
        assert!(streams.places.open().is_empty());
    }
}
