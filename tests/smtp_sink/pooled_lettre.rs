//! Why the pool and the conversation are our own: lettre's pool fails the property of
//! `cancellation.rs`.

use std::time::Duration;

use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::time::timeout;

use super::peer::let_others_run;

fn message(to: &str) -> Message {
    Message::builder()
        .from("a@example.com".parse().expect("an address"))
        .to(to.parse().expect("an address"))
        .body("text".to_owned())
        .expect("a message")
}

#[tokio::test]
#[ignore = "documents lettre's pool"]
async fn a_send_that_is_dropped_makes_pooled_lettre_report_a_refused_mail_as_sent() {
    let late = Act::Delay(Duration::from_millis(300));
    let server = SmtpServer::builder()
        .misfortune(Misfortune::at(Moment::Dot).nth(1).then(late))
        .misfortune(Misfortune::at(Moment::Dot).to("refused@example.net").reply(554, "no"))
        .listen()
        .await
        .unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(server.address().port())
        .pool_config(PoolConfig::new().max_size(1))
        .build();
    let dropped = timeout(Duration::from_millis(150), transport.send(message("b@example.net")));
    assert!(dropped.await.is_err(), "it was dropped while it waited for the final reply");
    server.inbox().wait_for(1).await;
    // The pool takes the connection back on a task of its own.
    let_others_run().await;
    let refused = transport.send(message("refused@example.net")).await;
    assert!(refused.is_ok(), "lettre has changed: it now answers {refused:?}");
    assert_eq!(server.inbox().count(), 1, "the server has refused the second");
}
