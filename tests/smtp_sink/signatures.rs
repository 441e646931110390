//! Signatures: as DKIM has them, the same at every attempt, and verified by programs of others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use jobstream::sinks::JobSink as _;
use jobstream::sinks::smtp::{Dkim, DkimError, MailSink, Secret};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::arbitrary;
use super::peer::{config, job_of, paused, server, sink};
use super::postfix::Postfix;

const RSA: &str = include_str!("../keys/rsa.pem");
const RSA_PKCS1: &str = include_str!("../keys/rsa_pkcs1.pem");
const ED25519: &str = include_str!("../keys/ed25519.pem");

fn dkim(pem: &str) -> Dkim {
    Dkim::new("mail-1", "example.com", &Secret::new(pem)).expect("a good key")
}

fn mail_of(pem: &str, data: &Value) -> Vec<u8> {
    paused(async {
        let server = server();
        let sink = sink(&server, &config().dkim(dkim(pem)));
        let (job, record) = job_of(data);
        for _ in 0..2 {
            sink.execute(&job, &record).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let mails = server.inbox().take();
        assert_eq!(mails[0].raw, mails[1].raw, "an attempt is as the one before");
        mails[0].raw.to_vec()
    })
}

fn order() -> Value {
    json!({
        "SourceAddress": "shop@example.com", "DestinationAddress": "b@example.net",
        "Subject": "Bestellung best\u{e4}tigt", "Message": ".\n\n two  spaces \nend \n\n\n",
        "Html": "<p>gr\u{fc}\u{df}e</p>\n",
        "Attachments": [
            {"Name": "rechnung.pdf", "ContentType": "application/pdf", "Content": "JVBERi0="},
        ],
        "Headers": {"List-Unsubscribe": "<https://example.com/u>", "X-Shop": "one  two"},
    })
}

#[test]
fn a_signature_covers_every_header_and_from_once_more_and_has_no_time() {
    for (pem, algorithm) in [(RSA, "rsa-sha256"), (ED25519, "ed25519-sha256")] {
        let raw = String::from_utf8(mail_of(pem, &order())).unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        let mut fields = head.split("\r\n").map(|line| line.split_once(": ").unwrap());
        let (name, signature) = fields.next().unwrap();
        assert_eq!(name, "DKIM-Signature");
        let tags: Vec<_> =
            signature.split("; ").map(|tag| tag.trim().split_once('=').unwrap()).collect();
        let tag = |name| tags.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        for (name, value) in [
            ("v", "1"),
            ("a", algorithm),
            ("c", "relaxed/relaxed"),
            ("d", "example.com"),
            ("s", "mail-1"),
        ] {
            assert_eq!(tag(name), Some(value), "{signature}");
        }
        assert_eq!((tag("t"), tag("x"), tag("l")), (None, None, None));
        let mut expected: Vec<_> = fields.map(|(name, _)| name).collect();
        expected.push("From");
        let signed = tag("h").unwrap().replace(' ', "");
        let mut signed: Vec<_> = signed.split(':').collect();
        expected.sort_unstable();
        signed.sort_unstable();
        assert_eq!(signed, expected);
    }
}

#[test]
fn both_forms_of_a_key_sign_alike_and_both_kinds_have_their_record() {
    assert_eq!(mail_of(RSA, &order()), mail_of(RSA_PKCS1, &order()));
    assert_eq!(dkim(RSA).record_name(), "mail-1._domainkey.example.com");
    assert!(dkim(RSA).record().starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"));
    let record = dkim(ED25519).record();
    assert_eq!(record.len(), "v=DKIM1; k=ed25519; p=".len() + 44, "{record}");
    let bound = Dkim::new("South.A", "B\u{fc}cher.example", &Secret::new(ED25519)).unwrap();
    assert_eq!(bound.record_name(), "south.a._domainkey.xn--bcher-kva.example");
}

#[test]
fn a_key_that_can_t_sign_is_named_and_never_shown() {
    let of = |pem: &str| Dkim::new("s", "example.com", &Secret::new(pem)).unwrap_err();
    let lines = RSA.lines().enumerate().filter(|(number, _)| *number != 2);
    let without_a_line = lines.map(|(_, line)| format!("{line}\n")).collect::<String>();
    for (pem, found) in [
        ("", "no private key in PEM"),
        ("secret", "no private key in PEM"),
        (include_str!("../keys/rsa_1024.pem"), "an RSA key of less than 2048 bits"),
        (include_str!("../keys/p256.pem"), "a key of another algorithm"),
        (include_str!("../keys/rsa_encrypted.pem"), "no private key in PEM"),
        (
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "a key that is broken",
        ),
        ("-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n", "no private key"),
        (&without_a_line, "a key that is broken"),
        (&format!("{RSA}{ED25519}"), "several private keys in PEM"),
    ] {
        let error = of(pem);
        assert!(error.to_string().starts_with(&format!("key: found {found}")), "{error}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("c2Vj"));
    }
    for selector in ["", "a b", "a..b", "s\u{fc}d"] {
        let error = Dkim::new(selector, "example.com", &Secret::new(RSA)).unwrap_err();
        assert!(matches!(error, DkimError::Selector { .. }), "{error}");
    }
    let error = Dkim::new("s", "-", &Secret::new(RSA)).unwrap_err();
    assert!(matches!(error, DkimError::Domain { .. }), "{error}");
    assert!(!format!("{:?}", dkim(RSA)).contains("MII"), "{:?}", dkim(RSA));
}

/// The program of others that stands in `foreign/`, run over mails.
fn verifies(command: &mut Command, script: &str, pem: &str, mails: &[PathBuf]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_sink/foreign");
    command.arg(folder.join(script)).args([dkim(pem).record_name(), dkim(pem).record()]);
    let ended = command.args(mails).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{script}: {said}");
}

/// A Python that has dkimpy.
fn python() -> Command {
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/peers");
    let made = Command::new(peers).arg("dkim").output().expect("scripts/peers");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Command::new(String::from_utf8(made.stdout).expect("a path").trim())
}

fn opendkim() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "python3"]);
    command
}

/// Writes so many mails of arbitrary jobs, and one that has everything.
fn written(folder: &TempDir, pem: &str, cases: u32) -> Vec<PathBuf> {
    let paths = std::cell::RefCell::new(Vec::new());
    let write = |data: &Value| {
        let path = folder.path().join(format!("{}.eml", paths.borrow().len()));
        std::fs::write(&path, mail_of(pem, data)).expect("a folder");
        paths.borrow_mut().push(path);
    };
    write(&order());
    arbitrary::jobs(cases, |data| write(&data));
    paths.into_inner()
}

#[test]
#[ignore = "needs Python"]
fn dkimpy_verifies_every_mail_and_no_changed_one() {
    for pem in [RSA, ED25519] {
        let folder = tempfile::tempdir().unwrap();
        verifies(&mut python(), "dkimpy.py", pem, &written(&folder, pem, 30));
    }
}

/// Debian's knows no Ed25519.
#[test]
#[ignore = "needs opendkim-testmsg"]
fn opendkim_verifies_every_mail() {
    let folder = tempfile::tempdir().unwrap();
    let mails = written(&folder, RSA, 30);
    verifies(&mut opendkim(), "opendkim.py", RSA, &mails);
}

#[tokio::test]
#[ignore = "needs Postfix"]
async fn signatures_come_through_postfix() {
    for pem in [RSA, ED25519] {
        let postfix = Postfix::start("example.net").await;
        let mut settings = config().dkim(dkim(pem));
        settings.relays[0].host = postfix.address().ip().to_string();
        settings.relays[0].port = postfix.address().port();
        let sink = Arc::new(MailSink::new(&settings).unwrap());
        let plain = json!({
            "SourceAddress": "a@example.com", "DestinationAddress": "b@example.net",
            "Subject": "", "Message": "..\n.\n\nFrom me\n",
        });
        for data in [order(), plain] {
            let (job, record) = job_of(&data);
            sink.execute(&job, &record).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let mut mails = Vec::new();
        while mails.len() < 2 {
            tokio::task::yield_now().await;
            let Ok(folder) = std::fs::read_dir(postfix.mails()) else { continue };
            mails = folder.map(|entry| entry.unwrap().path()).collect();
        }
        verifies(&mut python(), "dkimpy.py", pem, &mails);
        if pem == RSA {
            verifies(&mut opendkim(), "opendkim.py", pem, &mails);
        }
    }
}
