//! RFC 5321 in memory.

use jobstream_testkit::smtp::{Extension, Keep, SmtpServer};

use crate::client::{Client, connected};

#[tokio::test]
async fn a_mail_arrives_with_its_envelope() {
    let (server, mut client) = connected(SmtpServer::builder()).await;
    assert_eq!(
        client.say("EHLO me.example").await,
        "250-localhost\n250-PIPELINING\n250-SIZE 33554432\n250-8BITMIME\n250-SMTPUTF8\n\
         250 ENHANCEDSTATUSCODES"
    );
    assert_eq!(client.say("MAIL FROM:<a@x.example> BODY=8BITMIME").await, "250 2.1.0 sender ok");
    assert_eq!(client.say("RCPT TO:<b@y.example>").await, "250 2.1.5 recipient ok");
    assert_eq!(client.say("RCPT TO:<c@y.example>").await, "250 2.1.5 recipient ok");
    assert_eq!(client.say("DATA").await, "354 end with <CRLF>.<CRLF>");
    client.send("Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n\r\n..dot\r\n").await;
    assert_eq!(client.say(".").await, "250 2.0.0 accepted");
    assert_eq!(client.say("QUIT").await, "221 2.0.0 bye");
    assert_eq!(client.reply().await, "");

    let mails = server.inbox().wait_for(1).await;
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!((mail.number, mail.connection, mail.client.as_str()), (1, 1, "me.example"));
    assert_eq!(
        (mail.sender.as_str(), &mail.parameters[..]),
        ("a@x.example", &["BODY=8BITMIME".to_owned()][..])
    );
    assert_eq!(mail.recipients, ["b@y.example", "c@y.example"]);
    assert!(mail.raw.ends_with(b"\r\n\r\n.dot\r\n"));
    assert_eq!((mail.tls, &mail.login), (false, &None));
    assert_eq!(mail.subject().as_deref(), Some("grüße"));
    assert_eq!(mail.message_id(), Some("1@x"));
    assert_eq!(mail.text().as_deref(), Some(".dot\r\n"));
    assert_eq!(server.inbox().count_of("1@x"), 1);
}

#[tokio::test]
async fn counts_are_kept_without_mails() {
    let (server, mut client) = connected(SmtpServer::builder().keep(Keep::Counts)).await;
    for id in ["1@x", "2@x", "1@x"] {
        assert_eq!(client.mail("b@y.example", &format!("Message-ID: <{id}>\r\n\r\nhi")).await, 250);
    }
    let inbox = server.inbox();
    assert_eq!((inbox.count(), inbox.mails().len()), (3, 0));
    assert_eq!(
        inbox.counts().into_iter().collect::<Vec<_>>(),
        [("1@x".to_owned(), 2), ("2@x".to_owned(), 1)]
    );
    inbox.clear();
    assert_eq!((inbox.count(), inbox.counts().len()), (0, 0));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let (server, mut client) = connected(SmtpServer::builder()).await;
    assert_eq!(client.code("EHLO me").await, 250);
    client.send("MAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<bad>\r\nDATA\r\n").await;
    assert_eq!(client.reply().await, "250 2.1.0 sender ok");
    assert_eq!(client.reply().await, "250 2.1.5 recipient ok");
    assert_eq!(client.reply().await, "501 5.1.3 bad recipient, expected RCPT TO:<address>");
    assert_eq!(client.reply().await, "354 end with <CRLF>.<CRLF>");
    client.send("hi\r\n.\r\nRSET\r\nQUIT\r\n").await;
    assert_eq!(client.reply().await, "250 2.0.0 accepted");
    assert_eq!(client.reply().await, "250 2.0.0 ok");
    assert_eq!(client.reply().await, "221 2.0.0 bye");
    assert_eq!(server.inbox().mails()[0].sender, "");
}

#[tokio::test]
async fn who_pipelines_without_being_offered_it_gets_503() {
    let builder = SmtpServer::builder().without(Extension::Pipelining);
    let (_server, mut client) = connected(builder).await;
    assert!(!client.say("EHLO me").await.contains("PIPELINING"));
    client.send("NOOP\r\nNOOP\r\n").await;
    assert_eq!(client.reply().await, "250 2.0.0 ok");
    assert_eq!(client.reply().await, "503 5.5.1 PIPELINING was not offered");
    assert_eq!(client.code("NOOP").await, 250);
}

#[tokio::test]
async fn it_is_reached_over_tcp_and_refuses_when_told_to() {
    let server = SmtpServer::builder().listen().await.unwrap();
    let connect = || tokio::net::TcpStream::connect(server.address());
    let mut client = Client::new(connect().await.unwrap());
    assert_eq!(client.reply().await, "220 localhost ESMTP jobstream-testkit");
    server.refuse_connections().await;
    let refused = connect().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(server.connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(client.mail("b@y.example", "hi").await, 250);
    server.admit_connections().await.unwrap();
    let mut again = Client::new(connect().await.unwrap());
    assert_eq!(again.reply().await, "220 localhost ESMTP jobstream-testkit");
    assert_eq!((server.connections().open, server.connections().peak), (2, 2));
    server.disconnect_all();
    assert_eq!((client.reply().await, again.reply().await), (String::new(), String::new()));
    server.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_no_longer_open() {
    let (server, mut client) = connected(SmtpServer::builder()).await;
    assert_eq!(server.connections().open, 1);
    assert_eq!(client.code("QUIT").await, 221);
    assert_eq!(client.reply().await, "");
    assert_eq!((server.connections().open, server.connections().peak), (0, 1));
}

#[tokio::test]
async fn limits_are_answered_and_the_conversation_goes_on() {
    let builder = SmtpServer::builder().size_limit(50).line_limit(20).recipients_limit(1);
    let (server, mut client) = connected(builder).await;
    assert_eq!(client.mail("you@b.example", &"x".repeat(18)).await, 250);
    assert_eq!(client.mail("you@b.example", &"x".repeat(19)).await, 500);
    assert_eq!(client.mail("you@b.example", &"x\r\n".repeat(20)).await, 552);
    assert_eq!(client.code("MAIL FROM:<me@a.example> SIZE=51").await, 552);
    assert_eq!(client.code("MAIL FROM:<me@a.example> SIZE=50").await, 250);
    assert_eq!(client.code("RCPT TO:<you@b.example>").await, 250);
    assert_eq!(client.say("RCPT TO:<two@b.example>").await, "452 4.5.3 too many recipients");
    assert_eq!(server.inbox().count(), 1);
}

#[tokio::test]
async fn an_extension_that_is_off_is_neither_offered_nor_understood() {
    for (extension, line, code) in [
        (Extension::Size, "MAIL FROM:<me@a.example> SIZE=1", 555),
        (Extension::EightBitMime, "MAIL FROM:<me@a.example> BODY=8BITMIME", 555),
        (Extension::SmtpUtf8, "MAIL FROM:<me@a.example> SMTPUTF8", 555),
        (Extension::SmtpUtf8, "MAIL FROM:<grüße@a.example>", 553),
    ] {
        let (_server, mut client) = connected(SmtpServer::builder().without(extension)).await;
        assert_eq!(client.say("EHLO me").await.lines().count(), 5, "{extension:?}");
        assert_eq!(client.code(line).await, code, "{line}");
    }
    let builder = SmtpServer::builder().without(Extension::EnhancedStatusCodes);
    let (_server, mut client) = connected(builder).await;
    assert_eq!(client.say("NOOP").await, "250 ok");
}

#[tokio::test]
async fn the_conversation_is_told() {
    let (server, mut client) = connected(SmtpServer::builder().exchanges_kept(3)).await;
    for line in ["EHLO me", "NOOP", "FOO", "QUIT"] {
        client.code(line).await;
    }
    let said = server.conversation();
    let said: Vec<_> =
        said.iter().map(|it| (it.connection, it.command.as_str(), it.reply)).collect();
    assert_eq!(said, [(1, "NOOP", Some(250)), (1, "FOO", Some(500)), (1, "QUIT", Some(221))]);
}
