//! Signatures, as receivers of Standard Webhooks verify them.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::json;
use webhook::{Secrets, WebhookJob};

use crate::receiver::{Act, InMemory, Posted, Receiver};
use crate::support::{block_on, decoded, execute, job, read, settings, sink_with};

/// The vector of the specification's libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn the_published_vector_is_signed_so() {
    let signature = Secrets::parse(SECRET).unwrap().sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

fn secret(bytes: &[u8]) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(bytes))
}

fn secrets() -> impl Strategy<Value = Vec<String>> {
    let secret = prop::collection::vec(any::<u8>(), 24..=64).prop_map(|bytes| secret(&bytes));
    prop::collection::vec(secret, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// So that a receiver that knows one of them, old or new, verifies.
    #[test]
    fn several_secrets_sign_as_each_does_alone(
        secrets in secrets(),
        separator in "[ ,\n\t]{1,3}",
        id in "[a-z0-9_]{1,20}",
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let together = Secrets::parse(&secrets.join(&separator)).unwrap();
        let together = together.sign(&id, 1, &body).unwrap();
        let alone = |secret: &String| Secrets::parse(secret).unwrap().sign(&id, 1, &body).unwrap();
        let alone: Vec<_> = secrets.iter().map(alone).collect();
        prop_assert_eq!(together, alone.join(" "));
    }

    /// Every attempt has the same id, and another job has another one.
    #[test]
    fn the_id_is_that_of_the_job(id in "[a-z0-9]{1,9}", time in "[0-9]{0,5}", other in "[a-z0-9]{1,9}") {
        let of = |id: &str, time: &str, data: &str| {
            let text = format!(
                r#"{{"Id":"{id}","ScheduleTime":"{time}","Status":2,"JobType":2,"JobData":{data}}}"#
            );
            WebhookJob::of(decoded(&text)).webhook_id()
        };
        let first = of(&id, &time, r#"{"Url":"http://a.example"}"#);
        prop_assert_eq!(&first, &of(&id, &time, "{}"));
        prop_assert_eq!(first == of(&other, &time, "{}"), id == other);
        prop_assert!(first.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_'), "{}", first);
    }
}

#[test]
fn a_secret_that_is_none_ends_the_start_and_is_not_shown() {
    for (value, expected) in [
        ("hunter2", "found one without whsec_ (number 1)"),
        ("whsec_hunter2!", "found one that is no base64 after whsec_ (number 1)"),
        (&*format!("{SECRET} {}", secret(b"short")), "found one of 5 bytes (number 2)"),
        (&*secret(&[0; 65]), "found one of 65 bytes (number 1)"),
    ] {
        let error = read(&[("WEBHOOK_SECRET", value)]).unwrap_err();
        assert!(error.starts_with(&format!("WEBHOOK_SECRET: {expected}")), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("MfKQ"), "{error}");
    }
    assert_eq!(format!("{:?}", read(&[("WEBHOOK_SECRET", SECRET)]).unwrap().secrets), "1 secrets");
}

/// What arrives of a job that is signed with these secrets.
fn posted(secrets: &str, body: &serde_json::Value) -> Posted {
    block_on(async {
        let receiver = Receiver::always(Act::answer(200));
        let mut settings = settings();
        settings.secrets = Secrets::parse(secrets).unwrap();
        let sink = sink_with(settings, &InMemory::to(&receiver));
        let job = job(&json!({"Url": "http://a.example/", "Body": body}));
        execute(&sink, &job).await.unwrap();
        receiver.posted().remove(0)
    })
}

#[test]
fn without_a_secret_nothing_is_signed_and_the_id_is_there() {
    let posted = posted("", &json!({}));
    assert_eq!(posted.headers["webhook-timestamp"], "1700000000");
    assert!(posted.headers["webhook-id"].starts_with("msg_"));
    assert!(!posted.headers.contains_key("webhook-signature"));
}

/// A verifier that is not ours, told the time: the package of the specification, from PyPI.
const VERIFIER: &str = r#"
import base64, datetime, json, sys
import standardwebhooks.webhooks as it
class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(1700000000, tz)
it.datetime = Then
for line in sys.stdin:
    case = json.loads(line)
    body = base64.b64decode(case["body"]).decode()
    for secret in case["secrets"]:
        it.Webhook(secret).verify(body, case["headers"])
    for wrong in (case["wrong"],):
        try:
            it.Webhook(wrong).verify(body, case["headers"])
        except it.WebhookVerificationError:
            continue
        sys.exit("verified by a secret that has not signed")
print("verified")
"#;

#[test]
#[ignore = "needs the package standardwebhooks, from PyPI"]
fn the_package_of_the_specification_verifies_what_arrives() {
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/peers");
    let python = Command::new(peers).arg("standardwebhooks").output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let python = String::from_utf8(python.stdout).unwrap();
    let all: Vec<_> = (24..=64).map(|length| secret(&vec![length; usize::from(length)])).collect();
    let mut cases = String::new();
    for secrets in all.chunks(3).filter(|secrets| secrets.len() > 1) {
        let (wrong, signing) = secrets.split_first().unwrap();
        let body = json!({"länge": signing.len(), "text": "\u{1f600} \n", "number": 1.50});
        let posted = posted(&signing.join(" "), &body);
        let case = json!({
            "secrets": signing, "wrong": wrong, "headers": posted.headers,
            "body": BASE64_STANDARD.encode(&posted.body),
        });
        cases.push_str(&format!("{case}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cases"), cases).unwrap();
    let input = std::fs::File::open(folder.path().join("cases")).unwrap();
    let verified =
        Command::new(python.trim()).args(["-c", VERIFIER]).stdin(input).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert_eq!(String::from_utf8_lossy(&verified.stdout), "verified\n", "{said}");
}
