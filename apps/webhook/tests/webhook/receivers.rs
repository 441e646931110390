//! A receiver that is away, or wants a pause, is left alone; the others notice nothing.

use std::time::Duration;

use jobstream::sinks::JobErrorKind;
use tokio::time::sleep;

use crate::receiver::{Act, InMemory, PUBLIC, Receiver};
use crate::support::{execute, sink, to};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_is_asked_by_one_attempt_at_a_time_until_it_is_back() {
    let receiver = Receiver::always(Act::answer(200));
    let network = InMemory::to(&receiver);
    network.name("away.example", &[&["9.9.9.9".parse().unwrap()]]);
    network.is_away("9.9.9.9".parse().unwrap());
    let (sink, away) = (sink(&network), to("http://away.example/"));
    for _ in 0..5 {
        let error = execute(&sink, &away).await.unwrap_err();
        assert_eq!((error.kind(), error.earliest()), (JobErrorKind::Transient, None));
    }
    let mut wait = SECOND;
    for _ in 0..5 {
        for _ in 0..10 {
            let error = execute(&sink, &away).await.unwrap_err();
            assert_eq!((error.kind(), error.earliest()), (JobErrorKind::Unavailable, Some(wait)));
        }
        assert!(execute(&sink, &to("http://well.example/")).await.is_ok());
        sleep(wait).await;
        let before = network.connected().len();
        assert_eq!(execute(&sink, &away).await.unwrap_err().kind(), JobErrorKind::Transient);
        assert_eq!(network.connected().len(), before + 1);
        wait *= 2;
    }
    // It is back.
    network.name("away.example", &[&[PUBLIC]]);
    sleep(wait).await;
    for _ in 0..3 {
        assert!(execute(&sink, &away).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_for_a_receiver_that_stays_away_count_at_last() {
    let network = InMemory::to(&Receiver::always(Act::answer(200)));
    network.is_away(PUBLIC);
    let (sink, job) = (sink(&network), to("http://away.example/"));
    let mut waited = Duration::ZERO;
    loop {
        let error = execute(&sink, &job).await.unwrap_err();
        let Some(wait) = error.earliest() else { continue };
        assert!(wait <= 60 * SECOND, "{wait:?}");
        if error.kind() == JobErrorKind::Transient {
            break;
        }
        sleep(wait).await;
        waited += wait;
        assert!(waited < 700 * SECOND, "jobs wait without a limit");
    }
    assert!(waited >= 500 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_a_pause_gets_it() {
    for status in [425, 429, 503] {
        let receiver = Receiver::always(Act::answer(200));
        let sink = sink(&InMemory::to(&receiver));
        let (job, other) = (to("http://busy.example/"), to("http://other.example/"));
        receiver.once(Act::with(status, "Retry-After: 10\r\n"));
        let error = execute(&sink, &job).await.unwrap_err();
        assert_eq!((error.kind(), error.earliest()), (JobErrorKind::Transient, Some(10 * SECOND)));
        for _ in 0..100 {
            let error = execute(&sink, &job).await.unwrap_err();
            assert_eq!(error.kind(), JobErrorKind::Unavailable);
            assert_eq!(error.earliest(), Some(10 * SECOND));
        }
        assert_eq!(receiver.posted().len(), 1, "{status}");
        assert!(execute(&sink, &other).await.is_ok());
        sleep(10 * SECOND).await;
        assert!(execute(&sink, &job).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_is_the_jobs_own_and_holds_up_the_host_for_five_minutes() {
    let receiver = Receiver::always(Act::answer(200));
    let sink = sink(&InMemory::to(&receiver));
    receiver.once(Act::with(429, "Retry-After: 86400\r\n"));
    let job = to("http://busy.example/");
    let error = execute(&sink, &job).await.unwrap_err();
    assert_eq!(error.earliest(), Some(86_400 * SECOND));
    sleep(300 * SECOND).await;
    assert!(execute(&sink, &job).await.is_ok());
}
