//! Octets that no client should send.

use std::time::Duration;

use jobstream_testkit::smtp::{SmtpServer, Tls};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends octets in pieces to a server in memory, reads all that comes back, and gives the number of
/// mails.
fn thrown(octets: &[u8], piece: usize, tls: Option<Tls>) -> (u64, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut builder = SmtpServer::builder().login("user", "secret").size_limit(2_000);
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        let server = builder.in_memory().unwrap();
        let (mut read, mut write) = tokio::io::split(server.connect().unwrap());
        let mut replies = Vec::new();
        let conversation = async {
            tokio::join!(
                async {
                    for piece in octets.chunks(piece) {
                        // The server may have closed: what it was sent before is what counts.
                        if write.write_all(piece).await.is_err() {
                            return;
                        }
                    }
                    let _ = write.shutdown().await;
                },
                async {
                    let _ = read.read_to_end(&mut replies).await;
                }
            );
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), conversation).await;
        assert!(ended.is_ok(), "the conversation did not end");
        (server.inbox().count(), replies)
    })
}

/// Octets in which commands, line ends and garbage are mixed.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "EHLO me\r\n",
        "HELO me\r\n",
        "MAIL FROM:<a@b.example>",
        "RCPT TO:<c@d.example>",
        "DATA\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "VRFY x\r\n",
        "AUTH PLAIN ",
        "AUTH LOGIN\r\n",
        "STARTTLS\r\n",
        "\r\n.\r\n",
        "\r\n",
        "\n",
        "\r",
        ".",
        "\0",
        " SIZE=",
        "=",
        "99999999999999999999",
        "é",
    ];
    let word = proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let garbage = proptest::collection::vec(any::<u8>(), 0..40);
    let flood = (any::<u8>(), 1_000..20_000usize).prop_map(|(octet, count)| vec![octet; count]);
    let part = proptest::prop_oneof![20 => word, 4 => garbage, 1 => flood];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

const ENVELOPE: &str = "EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_octets_make_the_server_panic_or_hang(octets in octets(), piece in 1..2_000usize) {
        let (_, replies) = thrown(&octets, piece, None);
        let text = String::from_utf8(replies).unwrap();
        prop_assert!(text.split_terminator("\r\n").all(|line| line.len() > 3), "{text}");
    }

    #[test]
    fn no_text_makes_two_mails(
        parts in proptest::collection::vec(proptest::sample::select(
            vec!["\n", "\r", ".", "\r\n..", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "x", "\0", ENVELOPE],
        ), 0..30),
        piece in 1..200usize,
    ) {
        let text = parts.concat();
        let framed = format!("\r\n{text}\r\n.\r\n");
        let ends = framed.match_indices("\r\n.\r\n").count();
        let octets = format!("{ENVELOPE}{text}\r\n.\r\nQUIT\r\n").into_bytes();
        let (mails, _) = thrown(&octets, piece, None);
        // A part that is a true end may begin a second mail; a bare CR or LF never does.
        prop_assert!(mails <= u64::try_from(ends).unwrap());
        if ends == 1 {
            prop_assert_eq!(mails, 1);
        }
    }
}

#[test]
fn a_mail_cannot_be_smuggled_inside_another() {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\0\n.\r\n"] {
        let octets = format!("{ENVELOPE}first{end}{ENVELOPE}second\r\n.\r\nQUIT\r\n");
        let (mails, replies) = thrown(octets.as_bytes(), 7, None);
        assert_eq!(mails, 1, "{end:?}");
        assert!(replies.ends_with(b"221 2.0.0 bye\r\n"), "{end:?}");
    }
}

#[test]
fn a_bare_line_feed_makes_no_second_command() {
    let octets = "EHLO me\r\nNOOP\nMAIL FROM:<evil@a.example>\r\nNOOP\rMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nQUIT\r\n";
    let (_, replies) = thrown(octets.as_bytes(), 100, None);
    let text = String::from_utf8(replies).unwrap();
    let codes: Vec<_> =
        text.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "500", "500", "503", "221"]);
}

#[test]
fn a_line_without_end_is_refused_once_and_passed_over() {
    let octets = format!("EHLO me\r\n{}\r\nNOOP\r\nQUIT\r\n", "x".repeat(100_000));
    let (_, replies) = thrown(octets.as_bytes(), 1_000, None);
    let text = String::from_utf8(replies).unwrap();
    assert!(
        text.ends_with("500 5.5.2 line too long\r\n250 2.0.0 ok\r\n221 2.0.0 bye\r\n"),
        "{text}"
    );
}

#[test]
fn octets_that_are_no_handshake_end_the_connection() {
    assert_eq!(thrown(b"EHLO me\r\n", 100, Some(Tls::Implicit)).0, 0);
    let (_, replies) = thrown(b"EHLO me\r\nSTARTTLS\r\n", 100, Some(Tls::StartTls));
    assert!(replies.ends_with(b"220 2.0.0 go ahead\r\n"));
}
