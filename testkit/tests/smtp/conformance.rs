//! The conformance suite, on the fake server and on a real Postfix.

use jobstream_testkit::smtp::SmtpServer;
use jobstream_testkit::smtp::conformance::{CASES, Features, Subject};

use crate::postfix::Postfix;

const DOMAIN: &str = "b.example";

async fn run(subject: &Subject) {
    for case in CASES {
        println!("{}", case.name);
        case.run(subject).await;
    }
}

#[tokio::test]
async fn the_fake_server_keeps_every_promise() {
    let server = SmtpServer::builder().size_limit(100_000).listen().await.unwrap();
    let inbox = server.inbox();
    let received = move || inbox.mails().iter().map(|mail| mail.raw.to_vec()).collect();
    run(&Subject::new(server.address(), DOMAIN, Features::ALL, received)).await;
}

#[tokio::test]
#[ignore = "needs Postfix"]
async fn postfix_keeps_every_promise_that_it_gives() {
    let postfix = Postfix::start(DOMAIN).await;
    let features = Features { strict_paths: false, ..Features::ALL };
    let mails = postfix.mails();
    let received = move || {
        let files = std::fs::read_dir(&mails).into_iter().flatten();
        files.filter_map(|file| std::fs::read(file.ok()?.path()).ok()).collect()
    };
    run(&Subject::new(postfix.address(), DOMAIN, features, received)).await;
}
