//! A thousand hosts, of which ten hang: the others hardly notice.

use std::sync::Arc;
use std::time::Duration;

use jobstream::record::ProducerRecord;
use jobstream::topology::Retry;
use tokio::time::{Instant, sleep};

use crate::receiver::{Act, InMemory, Receiver};
use crate::support::block_on;
use crate::topology::{broker, topology};

const HOSTS: usize = 1_000;
const HANG: usize = 10;
const JOBS_OF_A_HOST: usize = 16;
const ANSWERS_AFTER: Duration = Duration::from_millis(50);
/// How many of the others' requests there are.
const OTHERS: usize = (HOSTS - HANG) * JOBS_OF_A_HOST;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// When the receiver has had each of the others' requests, since the first one, if so many hosts hang.
fn arrivals(hanging: usize) -> Vec<Duration> {
    block_on(async move {
        let started = Instant::now();
        let arrived = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = arrived.clone();
        let receiver = Receiver::new(move |host, _| {
            let number: usize = host.strip_prefix("host-").unwrap().parse().unwrap();
            if number < hanging {
                return Act::Stall;
            }
            if number >= HANG {
                seen.lock().unwrap().push(started.elapsed());
            }
            Act::answer(200).after(ANSWERS_AFTER)
        });
        let (broker, topics) = broker();
        for number in 0..HOSTS * JOBS_OF_A_HOST {
            // The hosts take turns.
            let (id, host) = (format!("{number}"), number % HOSTS);
            let value = format!(
                r#"{{"Id":"{id}","Status":2,"JobType":2,"JobData":{{"Url":"http://host-{host}/"}}}}"#
            );
            broker.produce(ProducerRecord::to(&*topics.jobs).key(id).value(value)).unwrap();
        }
        let topology = topology(&topics, &InMemory::to(&receiver), Retry::new());
        let source = broker.consumer("webhooks", [topics.jobs.clone()]).build();
        let all = async {
            while arrived.lock().unwrap().len() < OTHERS {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        let limits = jobstream::topology::Limits::new().shutdown_timeout(Duration::ZERO);
        topology.with_limits(limits).run(&source, &broker.producer(), all).await.unwrap();
        std::mem::take(&mut *arrived.lock().unwrap())
    })
}

#[test]
fn of_a_thousand_hosts_ten_hang_and_the_others_hardly_notice() {
    let (well, beside) = (arrivals(0), arrivals(HANG));
    let until = *well.last().unwrap();
    let by_then = beside.iter().filter(|at| **at <= until).count();
    println!(
        "{OTHERS} requests to {} hosts: {until:?} if none hangs, {:?} if {HANG} do; {by_then} by the \
         time of the first",
        HOSTS - HANG,
        beside.last().unwrap(),
    );
    assert_eq!((well.len(), beside.len()), (OTHERS, OTHERS));
    assert!(by_then * 10 >= OTHERS * 9, "found {by_then} of {OTHERS}");
}
