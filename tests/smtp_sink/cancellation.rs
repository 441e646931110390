//! A send is dropped at every await.

use std::sync::Arc;

use jobstream::sinks::JobErrorKind;
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, SmtpServer};

use super::peer::{OTHER, config, let_others_run, poll_times, send, sink};

const REFUSED: &str = "refused@example.net";

/// The server refuses the mails to `REFUSED`, at the final dot; every octet of its replies is a
/// read of its own, so that there are many awaits.
fn server(pipelining: bool) -> Arc<SmtpServer> {
    let refusal = Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam");
    let builder = SmtpServer::builder()
        .misfortune(refusal)
        .misfortune(Misfortune::at(Moment::Any).then(Act::SplitReply));
    let builder = if pipelining { builder } else { builder.without(Extension::Pipelining) };
    Arc::new(builder.in_memory().expect("a server in memory"))
}

/// Cancels a send to `cancelled` at poll `k`, then sends to `next`; false once it was not cancelled.
async fn cancel_at(k: usize, pipelining: bool, reused: bool, cancelled: &str, next: &str) -> bool {
    let server = server(pipelining);
    let sink = sink(&server, &config());
    let mut before = 0;
    if reused {
        assert!(send(&sink, "before", OTHER).await.is_ok());
        before = 1;
    }
    let first = poll_times(send(&sink, "first", cancelled), k).await;
    let_others_run().await;
    let second = send(&sink, "second", next).await;
    let arrived: u64 = server.inbox().count() - before;
    if next == REFUSED {
        let kind = second.map_err(|error| error.kind()).err();
        assert_eq!(kind, Some(JobErrorKind::Permanent), "a refused mail was sent, poll {k}");
        assert!(arrived <= 1);
    } else {
        let second = second.unwrap_or_else(|error| panic!("it was refused at poll {k}: {error}"));
        let id = second.message_id.trim_matches(['<', '>']);
        assert_eq!(server.inbox().count_of(id), 1, "poll {k}");
        assert_eq!(arrived, 1, "the other one was refused");
    }
    assert_eq!(sink.open_connections(), 1);
    let_others_run().await;
    assert_eq!(server.connections().open, 1, "the cancelled one is closed, poll {k}");
    first.is_none()
}

#[tokio::test(start_paused = true)]
async fn no_job_gets_the_answer_of_one_that_was_dropped() {
    for (cancelled, next) in [(REFUSED, OTHER), (OTHER, REFUSED)] {
        for pipelining in [true, false] {
            for reused in [true, false] {
                let mut k = 0;
                while cancel_at(k, pipelining, reused, cancelled, next).await {
                    k += 1;
                }
                assert!(k > 10, "there are many awaits, and it was cancelled at {k} only");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_for_a_connection_takes_nobodys_turn() {
    let server = server(true);
    let sink = sink(&server, &config());
    let mut first = Box::pin(send(&sink, "first", OTHER));
    assert!(poll_times(&mut first, 3).await.is_none());
    let mut third = Box::pin(send(&sink, "third", OTHER));
    {
        let mut second = Box::pin(send(&sink, "second", OTHER));
        assert!(poll_times(&mut second, 2).await.is_none());
        assert!(poll_times(&mut third, 2).await.is_none());
    }
    assert!(first.await.is_ok());
    assert!(third.await.is_ok());
    assert_eq!(server.inbox().count(), 2);
    assert_eq!(server.connections().peak, 1);
}
