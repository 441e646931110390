//! The promises, in the order of a conversation.

use futures::FutureExt;

use super::client::{Client, delivered};
use super::{Case, Subject};

/// All cases. They share nothing but the server, and may run in any order or at once.
pub const CASES: &[Case] = &[
    Case { name: "the greeting and EHLO tell the extensions", run: |it| extensions(it).boxed() },
    Case { name: "HELO is answered in one line", run: |it| helo(it).boxed() },
    Case { name: "a mail before EHLO or HELO gets 503", run: |it| before_hello(it).boxed() },
    Case { name: "a mail is delivered as it was sent", run: |it| as_sent(it).boxed() },
    Case { name: "leading dots are taken out again", run: |it| dots(it).boxed() },
    Case { name: "an empty mail is accepted", run: |it| empty(it).boxed() },
    Case { name: "several mails go over one connection", run: |it| several(it).boxed() },
    Case { name: "the null sender is accepted", run: |it| null_sender(it).boxed() },
    Case { name: "a hundred recipients are accepted", run: |it| recipients(it).boxed() },
    Case { name: "commands come in any case", run: |it| any_case(it).boxed() },
    Case { name: "RSET and EHLO forget the mail", run: |it| forgotten(it).boxed() },
    Case { name: "a command out of order gets 503", run: |it| out_of_order(it).boxed() },
    Case { name: "what is no command gets 500 or 502", run: |it| unknown(it).boxed() },
    Case { name: "an argument that cannot be read gets 501", run: |it| syntax(it).boxed() },
    Case { name: "a parameter that was not offered gets 555", run: |it| parameters(it).boxed() },
    Case { name: "what the grammar forbids gets 501", run: |it| strict(it).boxed() },
    Case { name: "NOOP, VRFY and QUIT are answered", run: |it| simple(it).boxed() },
    Case { name: "pipelined commands are answered in order", run: |it| pipelined(it).boxed() },
    Case { name: "too large a mail gets 552", run: |it| too_large(it).boxed() },
    Case { name: "8-bit text arrives unchanged", run: |it| eight_bit(it).boxed() },
    Case { name: "an address beyond ASCII needs SMTPUTF8", run: |it| utf8(it).boxed() },
    Case { name: "a refusal has an enhanced status code", run: |it| enhanced(it).boxed() },
    Case { name: "only CRLF.CRLF ends the data", run: |it| smuggling(it).boxed() },
    Case { name: "a mail that was cut off is not delivered", run: |it| cut_off(it).boxed() },
];

async fn extensions(subject: &Subject) {
    let mut client = Client::connect(subject).await;
    assert_eq!(client.code().await, 220);
    client.send("EHLO me.example\r\n").await;
    let reply = client.reply().await;
    let offered =
        |name: &str| reply.iter().skip(1).any(|line| line[4..].split(' ').next() == Some(name));
    for (name, has) in [
        ("PIPELINING", subject.features.pipelining),
        ("SIZE", subject.features.size),
        ("8BITMIME", subject.features.eight_bit_mime),
        ("SMTPUTF8", subject.features.smtp_utf8),
        ("ENHANCEDSTATUSCODES", subject.features.enhanced_status_codes),
    ] {
        assert_eq!(offered(name), has, "{name} in {reply:?}");
    }
}

async fn helo(subject: &Subject) {
    let mut client = Client::connect(subject).await;
    client.code().await;
    client.send("HELO me.example\r\n").await;
    let reply = client.reply().await;
    assert!(reply.len() == 1 && reply[0].starts_with("250 "), "{reply:?}");
    client.envelope().await;
    client.expect("Subject: helo\r\n\r\nhi\r\n.", &[250]).await;
}

async fn before_hello(subject: &Subject) {
    let mut client = Client::connect(subject).await;
    client.code().await;
    client.expect("MAIL FROM:<me@a.example>", &[503]).await;
    client.expect("EHLO me.example", &[250]).await;
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
}

async fn as_sent(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.envelope().await;
    client.expect("Subject: as sent\r\n\r\none\r\n\r\n two \r\n.", &[250]).await;
    let mail = delivered(subject, "Subject: as sent").await;
    assert!(mail.ends_with("\n\none\n\n two \n"), "{mail:?}");
}

async fn dots(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.envelope().await;
    client.expect("Subject: dots\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n.", &[250]).await;
    let mail = delivered(subject, "Subject: dots").await;
    assert!(mail.ends_with("\n\n.\n..\n.x\nx.\n"), "{mail:?}");
}

async fn empty(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.envelope().await;
    client.expect(".", &[250]).await;
}

async fn several(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    for _ in 0..3 {
        client.envelope().await;
        client.expect("Subject: several\r\n\r\nhi\r\n.", &[250]).await;
    }
    client.expect("QUIT", &[221]).await;
    assert_eq!(client.code().await, 0, "QUIT ends the connection");
}

async fn null_sender(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<>", &[250]).await;
    client.expect(client.to("you"), &[250]).await;
    client.expect("DATA", &[354]).await;
    client.expect("Subject: null sender\r\n\r\nhi\r\n.", &[250]).await;
}

async fn recipients(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
    for number in 0..100 {
        client.expect(client.to(&format!("you{number}")), &[250]).await;
    }
    client.expect("DATA", &[354]).await;
    client.expect("Subject: recipients\r\n\r\nhi\r\n.", &[250]).await;
}

async fn any_case(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect("mail from:<me@a.example>", &[250]).await;
    client.expect(client.to("you").replace("RCPT TO", "Rcpt tO"), &[250]).await;
    client.expect("data", &[354]).await;
    client.expect("Subject: any case\r\n\r\nhi\r\n.", &[250]).await;
    client.expect("quit", &[221]).await;
}

async fn forgotten(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    for command in ["RSET", "EHLO me.example"] {
        client.expect("MAIL FROM:<me@a.example>", &[250]).await;
        client.expect(client.to("you"), &[250]).await;
        client.expect(command, &[250]).await;
        client.expect("DATA", &[503]).await;
    }
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
}

async fn out_of_order(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect(client.to("you"), &[503]).await;
    client.expect("DATA", &[503]).await;
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
    client.expect("MAIL FROM:<me@a.example>", &[503]).await;
    client.expect("DATA", &[503, 554]).await;
}

async fn unknown(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    for line in ["FOO", "FOO bar", "EXPN list", "STARTTLS", "AUTH PLAIN AGEAYg=="] {
        client.expect(line, &[500, 502, 503]).await;
    }
    client.expect("NOOP", &[250]).await;
}

async fn syntax(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    for line in
        ["EHLO", "HELO", "MAIL", "MAIL FROM:", "MAIL FROM:<a b@c.example>", "VRFY", "RSET x"]
    {
        client.expect(line, &[501]).await;
    }
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
    for line in ["RCPT", "RCPT TO:", "RCPT TO:<>"] {
        client.expect(line, &[501]).await;
    }
    client.expect(client.to("you"), &[250]).await;
    client.expect("DATA x", &[501]).await;
}

async fn parameters(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<me@a.example> FOO=1", &[555]).await;
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
    client.expect(format!("{} FOO=1", client.to("you")), &[555]).await;
}

async fn strict(subject: &Subject) {
    if !subject.features.strict_paths {
        return;
    }
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM: <me@a.example>", &[501]).await;
    client.expect("MAIL FROM:me@a.example", &[501]).await;
    client.expect("MAIL FROM:<me@a.example>", &[250]).await;
    client.expect("RCPT TO:<bad>", &[501]).await;
    client.expect("RCPT TO:<a..b@b.example>", &[501]).await;
    client.expect("RCPT TO:<grüße@b.example>", &[553]).await;
    client.expect("QUIT now", &[501]).await;
}

async fn simple(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.expect("NOOP", &[250]).await;
    client.expect("NOOP with an argument", &[250]).await;
    client.expect(format!("VRFY you@{}", subject.domain), &[250, 252]).await;
    client.expect("QUIT", &[221]).await;
    assert_eq!(client.code().await, 0, "QUIT ends the connection");
}

async fn pipelined(subject: &Subject) {
    if !subject.features.pipelining {
        return;
    }
    let mut client = Client::greeted(subject).await;
    let (one, two) = (client.to("one"), client.to("two"));
    client
        .send(format!("MAIL FROM:<me@a.example>\r\n{one}\r\nRCPT TO:<>\r\n{two}\r\nDATA\r\n"))
        .await;
    for code in [250, 250, 501, 250, 354] {
        assert_eq!(client.code().await, code);
    }
    client.send("Subject: pipelined\r\n\r\nhi\r\n.\r\nRSET\r\nNOOP\r\nFOO\r\nQUIT\r\n").await;
    for codes in [[250, 250], [250, 250], [250, 250], [500, 502], [221, 221]] {
        let code = client.code().await;
        assert!(codes.contains(&code), "{code}, expected {codes:?}");
    }
}

async fn too_large(subject: &Subject) {
    if !subject.features.size {
        return;
    }
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<me@a.example> SIZE=100001", &[552]).await;
    client.expect("MAIL FROM:<me@a.example> SIZE=1000", &[250]).await;
    client.expect("RSET", &[250]).await;
    client.envelope().await;
    client.expect(format!("{}.", "0123456789\r\n".repeat(10_000)), &[552]).await;
    client.envelope().await;
    client.expect("Subject: after too large\r\n\r\nhi\r\n.", &[250]).await;
}

async fn eight_bit(subject: &Subject) {
    if !subject.features.eight_bit_mime {
        return;
    }
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<me@a.example> BODY=8BITMIME", &[250]).await;
    client.expect(client.to("you"), &[250]).await;
    client.expect("DATA", &[354]).await;
    let head = "Subject: eight bit\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit";
    client.expect(format!("{head}\r\n\r\ngrüße\r\n."), &[250]).await;
    assert!(delivered(subject, "Subject: eight bit").await.ends_with("\n\ngrüße\n"));
}

async fn utf8(subject: &Subject) {
    if !subject.features.smtp_utf8 {
        return;
    }
    let mut client = Client::greeted(subject).await;
    client.expect("MAIL FROM:<grüße@a.example> SMTPUTF8", &[250]).await;
    client.expect(client.to("grüße"), &[250]).await;
    client.expect("DATA", &[354]).await;
    client.expect("Subject: utf8\r\n\r\nhi\r\n.", &[250]).await;
}

async fn enhanced(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.send("DATA\r\n").await;
    let reply = client.reply().await.concat();
    let has = subject.features.enhanced_status_codes;
    assert_eq!(reply.starts_with("503 5.5.1 "), has, "{reply:?}");
}

async fn smuggling(subject: &Subject) {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r"] {
        let mut client = Client::greeted(subject).await;
        client.envelope().await;
        let envelope = format!("MAIL FROM:<evil@a.example>\r\n{}\r\nDATA\r\n", client.to("you"));
        client.send(format!("Subject: one\r\n\r\none{end}{envelope}two\r\n.\r\nQUIT\r\n")).await;
        assert_eq!(client.code().await, 250, "{end:?}");
        assert_eq!(client.code().await, 221, "a second mail was smuggled by {end:?}");
    }
}

async fn cut_off(subject: &Subject) {
    let mut client = Client::greeted(subject).await;
    client.envelope().await;
    client.send("Subject: cut off\r\n\r\nhi\r\n.\r").await;
    drop(client);
    let mut client = Client::greeted(subject).await;
    client.envelope().await;
    client.expect("Subject: after the cut\r\n\r\nhi\r\n.", &[250]).await;
    delivered(subject, "Subject: after the cut").await;
    let cut = (subject.received)().iter().any(|it| it.windows(7).any(|it| it == b"cut off"));
    assert!(!cut, "a mail without its final dot was delivered");
}
