//! What goes wrong when it should, and only then.

use std::time::Duration;

use futures::FutureExt as _;
use jobstream_testkit::smtp::{
    Act, Misfortune, Moment, Occasion, Per, SmtpServer, SmtpServerBuilder,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::client::{Client, connected};

const LONG: Duration = Duration::from_secs(3_600);

fn server(misfortune: Misfortune) -> SmtpServerBuilder {
    SmtpServer::builder().misfortune(misfortune)
}

type Condition = fn(Occasion) -> Occasion;

/// A conversation that passes every command once.
const COMMANDS: [(Moment, &str); 9] = [
    (Moment::Ehlo, "EHLO me"),
    (Moment::Noop, "NOOP"),
    (Moment::Vrfy, "VRFY you"),
    (Moment::Rset, "RSET"),
    (Moment::Mail, "MAIL FROM:<me@a.example>"),
    (Moment::Rcpt, "RCPT TO:<you@b.example>"),
    (Moment::Data, "DATA"),
    (Moment::Dot, "hi\r\n."),
    (Moment::Quit, "QUIT"),
];

#[tokio::test]
async fn any_command_can_get_any_reply() {
    for (at, (moment, _)) in COMMANDS.iter().enumerate() {
        let (_server, mut client) =
            connected(server(Misfortune::at(*moment).reply(432, "odd"))).await;
        for (_, line) in &COMMANDS[..at] {
            assert!((200..400).contains(&client.code(line).await), "{line} before {moment:?}");
        }
        assert_eq!(client.say(COMMANDS[at].1).await, "432 odd", "{moment:?}");
        assert_eq!(client.code("NOOP").await, if *moment == Moment::Noop { 432 } else { 250 });
    }
}

#[tokio::test]
async fn any_command_can_end_the_connection_before_or_after_it_is_obeyed() {
    for (at, (moment, line)) in COMMANDS.iter().enumerate() {
        for (act, mails) in [
            (Act::DisconnectBefore, 0),
            (Act::AcceptThenDisconnect, u64::from(*moment == Moment::Dot)),
        ] {
            let (server, mut client) = connected(server(Misfortune::at(*moment).then(act))).await;
            for (_, line) in &COMMANDS[..at] {
                client.code(line).await;
            }
            assert_eq!(client.say(line).await, "", "{moment:?}");
            assert_eq!(server.inbox().count(), if at > 7 { 1 } else { mails }, "{moment:?}");
            assert_eq!(server.conversation().last().unwrap().reply, None);
        }
        let after = Misfortune::at(*moment).then(Act::DisconnectAfter);
        let (_server, mut client) = connected(server(after)).await;
        for (_, line) in &COMMANDS[..at] {
            client.code(line).await;
        }
        assert_ne!(client.say(line).await, "", "{moment:?}");
        assert_eq!(client.reply().await, "", "{moment:?}");
    }
}

#[tokio::test]
async fn replies_to_earlier_commands_go_out_before_the_connection_ends() {
    let lost = Misfortune::at(Moment::Rcpt).nth(2).then(Act::DisconnectBefore);
    let (_server, mut client) = connected(server(lost)).await;
    client.code("EHLO me").await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n").await;
    assert_eq!(client.reply().await, "250 2.1.0 sender ok");
    assert_eq!(client.reply().await, "250 2.1.5 recipient ok");
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn the_connection_ends_in_the_middle_of_the_data() {
    let cut = Misfortune::at(Moment::Body { octets: 10 }).then(Act::DisconnectBefore);
    let (server, mut client) = connected(server(cut)).await;
    assert_eq!(client.mail("you@b.example", "short").await, 250);
    assert_eq!(client.mail("you@b.example", "longer than ten octets").await, 0);
    assert_eq!(server.inbox().count(), 1);
}

#[tokio::test]
async fn half_of_the_recipients_are_refused_in_each_mail() {
    let refused = Misfortune::at(Moment::Rcpt).every(2).per(Per::Mail).reply(550, "no");
    let (server, mut client) = connected(server(refused)).await;
    client.code("EHLO me").await;
    for _ in 0..2 {
        client.code("MAIL FROM:<me@a.example>").await;
        let mut codes = Vec::new();
        for to in ["a", "b", "c"] {
            codes.push(client.code(format!("RCPT TO:<{to}@b.example>")).await);
        }
        assert_eq!(codes, [250, 550, 250]);
        client.code("DATA").await;
        assert_eq!(client.code(".").await, 250);
    }
    assert_eq!(server.inbox().mails()[1].recipients, ["a@b.example", "c@b.example"]);
}

#[tokio::test]
async fn it_strikes_only_whom_it_is_for() {
    let at = || Misfortune::at(Moment::Dot);
    let cases: [(Condition, [u16; 3]); 6] = [
        (|at| at.to("b@b.example"), [250, 450, 250]),
        (|at| at.to("@b.example"), [450, 450, 450]),
        (|at| at.from("me@a.example"), [450, 450, 450]),
        (|at| at.from(""), [250, 250, 250]),
        (|at| at.message(3), [250, 250, 450]),
        (|at| at.connection(2), [250, 250, 250]),
    ];
    for (case, (condition, expected)) in cases.into_iter().enumerate() {
        let (_server, mut client) = connected(server(condition(at()).reply(450, "no"))).await;
        let mut codes = Vec::new();
        for to in ["a", "b", "c"] {
            codes.push(client.mail(&format!("{to}@b.example"), "hi").await);
        }
        assert_eq!(codes, expected, "case {case}");
    }
}

#[tokio::test]
async fn a_354_without_recipients_ends_in_554() {
    let (server, mut client) =
        connected(server(Misfortune::at(Moment::Data).reply(354, "go"))).await;
    client.code("EHLO me").await;
    client.code("MAIL FROM:<me@a.example>").await;
    assert_eq!(client.say("DATA").await, "354 go");
    assert_eq!(client.say(".").await, "554 5.5.1 no valid recipients");
    assert_eq!(server.inbox().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_late_250_comes_after_the_mail_is_in_the_inbox() {
    let late = Misfortune::at(Moment::Dot).then(Act::Delay(LONG));
    let (server, mut client) = connected(server(late)).await;
    let begin = Instant::now();
    let inbox = server.inbox();
    let (code, accepted) = tokio::join!(client.mail("you@b.example", "hi"), async {
        inbox.wait_for(1).await;
        begin.elapsed()
    });
    assert_eq!((code, accepted, begin.elapsed()), (250, Duration::ZERO, LONG));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_command_is_never_answered_until_the_connection_is_cut() {
    for (act, mails) in [(Act::Stall, 0), (Act::AcceptThenStall, 1)] {
        let (server, mut client) = connected(server(Misfortune::at(Moment::Dot).then(act))).await;
        assert!(timeout(LONG, client.mail("you@b.example", "hi")).await.is_err());
        assert_eq!((server.inbox().count(), server.connections().open), (mails, 1));
        server.disconnect_all();
        assert_eq!(client.reply().await, "");
        assert_eq!(server.connections().open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_idle_is_sent_away_also_by_a_misfortune_that_comes_later() {
    let (server, mut client) = connected(SmtpServer::builder()).await;
    client.code("EHLO me").await;
    assert!(timeout(LONG, client.reply()).await.is_err());
    let idle = Moment::Idle { after: 2 * LONG };
    server.misfortunes().push(Misfortune::at(idle).reply(421, "4.4.2 idle"));
    let begin = Instant::now();
    assert_eq!(client.reply().await, "421 4.4.2 idle");
    assert_eq!(begin.elapsed(), LONG);
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn a_connection_is_refused_by_its_greeting_or_without_a_word() {
    let refuse = Misfortune::at(Moment::Connect).reply(554, "no service");
    let builder = server(refuse.clone())
        .misfortune(Misfortune::at(Moment::Connect).times(1).then(Act::DisconnectBefore));
    let server = builder.in_memory().unwrap();
    assert_eq!(Client::new(server.connect().unwrap()).reply().await, "");
    let mut client = Client::new(server.connect().unwrap());
    assert_eq!(client.reply().await, "554 no service");
    assert_eq!((client.code("EHLO me").await, client.code("QUIT").await), (503, 221));
    server.misfortunes().clear();
    assert_eq!(
        Client::new(server.connect().unwrap()).reply().await,
        "220 localhost ESMTP jobstream-testkit"
    );
}

#[tokio::test]
async fn a_split_reply_comes_octet_by_octet() {
    let split = Misfortune::at(Moment::Any).then(Act::SplitReply);
    let server = server(split).in_memory().unwrap();
    let mut stream = server.connect().unwrap();
    stream.write_all(b"NOOP\r\n").await.unwrap();
    let expected = "220 localhost ESMTP jobstream-testkit\r\n250 2.0.0 ok\r\n";
    let mut buffer = [0; 100];
    for octet in expected.bytes() {
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        assert_eq!(buffer[0], octet);
    }
}

#[tokio::test]
async fn two_runs_from_one_seed_meet_the_same_misfortunes() {
    async fn run(seed: u64) -> Vec<u16> {
        let chance = Misfortune::at(Moment::Dot).probability(0.5).reply(451, "chance");
        let (_server, mut client) = connected(server(chance).seed(seed)).await;
        let mut codes = Vec::new();
        for _ in 0..32 {
            codes.push(client.mail("you@b.example", "hi").await);
        }
        codes
    }
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test]
async fn more_connections_than_the_limit_are_greeted_with_421() {
    let (server, first) = connected(SmtpServer::builder().connections_limit(1)).await;
    let mut second = Client::new(server.connect().unwrap());
    assert_eq!(second.reply().await, "421 too many connections");
    assert_eq!(second.reply().await, "");
    drop((first, second));
    while server.connections().open > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        Client::new(server.connect().unwrap()).reply().await,
        "220 localhost ESMTP jobstream-testkit"
    );
    assert_eq!((server.connections().peak, server.connections().total), (2, 3));
}

#[tokio::test]
async fn more_connections_than_are_served_wait_for_their_greeting() {
    const GREETING: &str = "220 localhost ESMTP jobstream-testkit";
    let (server, first) = connected(SmtpServer::builder().served_limit(1)).await;
    let mut second = Client::new(server.connect().unwrap());
    let third = Client::new(server.connect().unwrap());
    let mut fourth = Client::new(server.connect().unwrap());
    assert!(second.reply().now_or_never().is_none());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((server.connections().open, server.connections().total), (1, 1));
    drop((first, third));
    assert_eq!(second.reply().await, GREETING);
    // The third has gone; it is noticed when its turn comes.
    drop(second);
    assert_eq!(fourth.reply().await, GREETING);
    assert_eq!(server.connections().peak, 1);

    let mut fifth = Client::new(server.connect().unwrap());
    server.serve_at_most(2);
    assert_eq!(fifth.reply().await, GREETING);
    assert_eq!(server.connections().open, 2);
}

#[tokio::test]
async fn a_caller_can_poll_the_server_itself() {
    let server = SmtpServer::builder().in_memory().unwrap();
    let (client, end) = tokio::io::duplex(64);
    let mut client = Client::new(client);
    let ((), code) = tokio::join!(server.serve(end), async {
        client.reply().await;
        let code = client.mail("you@b.example", "hi").await;
        drop(client);
        code
    });
    assert_eq!((code, server.inbox().count()), (250, 1));
}
