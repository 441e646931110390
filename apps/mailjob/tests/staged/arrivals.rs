//! The mails that have arrived, at the fake server or at Postfix.

#![expect(clippy::unwrap_used, reason = "a test that waits for mails")]

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::mem;
use std::net::SocketAddr;

use jobstream_testkit::smtp::SmtpServer;
use tokio::time::{Instant, sleep, timeout};

use crate::postfix::Postfix;
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER};

/// A mail server whose mails can be counted.
pub(crate) trait Arrivals: Sync {
    fn address(&self) -> SocketAddr;

    /// The mails that have arrived.
    fn total(&self) -> usize;

    /// How many mails each Message-ID has.
    fn by_message_id(&self) -> BTreeMap<String, usize>;

    /// Whether nothing of a client that has gone is under way any more.
    fn is_settled(&self) -> bool;

    /// Completes when so many mails have arrived; panics when none comes for long.
    fn arrived(&self, count: usize) -> impl Future<Output = ()> + Send {
        async move {
            let (mut total, mut until) = (self.total(), Instant::now() + LIMIT);
            while total < count {
                assert!(Instant::now() < until, "found {total} mails of {count}");
                sleep(LOOK_AGAIN_AFTER).await;
                let before = mem::replace(&mut total, self.total());
                if total > before {
                    until = Instant::now() + LIMIT;
                }
            }
        }
    }

    /// Completes when all that clients which have gone have sent has arrived, or never will.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        async {
            let settled = async {
                while !self.is_settled() {
                    sleep(LOOK_AGAIN_AFTER).await;
                }
            };
            timeout(LIMIT, settled).await.expect("nothing under way");
        }
    }
}

impl Arrivals for SmtpServer {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn total(&self) -> usize {
        self.inbox().count().try_into().unwrap()
    }

    fn by_message_id(&self) -> BTreeMap<String, usize> {
        let counts = self.inbox().counts().into_iter();
        counts.map(|(id, count)| (id, count.try_into().unwrap())).collect()
    }

    fn is_settled(&self) -> bool {
        self.connections().open == 0
    }
}

impl Arrivals for Postfix {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn total(&self) -> usize {
        // The folder is made with the first mail.
        read_dir(self.mails()).into_iter().flatten().count()
    }

    fn by_message_id(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for mail in read_dir(self.mails()).unwrap() {
            let mail = read_to_string(mail.unwrap().path()).unwrap();
            let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: <"));
            let id = id.and_then(|id| id.strip_suffix('>')).expect("a Message-ID");
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        counts
    }

    /// What is received or delivered has a file in the queue.
    fn is_settled(&self) -> bool {
        let folders = ["maildrop", "incoming", "active", "deferred"];
        folders.iter().all(|folder| read_dir(self.queue().join(folder)).unwrap().next().is_none())
    }
}
