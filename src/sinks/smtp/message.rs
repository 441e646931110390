//! Mails, built from jobs.
//!
//! Nothing in a mail depends on the time, the attempt, the partition or the server: the bytes of a
//! second attempt are those of the first, and a receiver can recognise them by their `Message-ID`.

use std::fmt::Write as _;
use std::time::SystemTime;

use lettre::Address;
use lettre::message::header::{Date as DateHeader, Headers};
use memchr::memchr;

use crate::job::{Job, JobData};
use crate::record::ConsumerRecord;
use crate::sinks::JobError;

use super::address::{AddressError, Mailbox};
use super::content::Content;
use super::date::Date;
use super::dkim::Dkim;
use super::free_text::{self, SUBJECT_LIMIT_BYTES};
use super::header;

/// The hexadecimal digits of a mail's name, at the begin of its `Message-ID`.
const NAME_DIGITS: usize = 32;

/// Room for the headers of a mail whose subject is short, in bytes.
const HEAD_BYTES: usize = 512;

/// The sender: what every mail of a sink has in common.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// The envelope's sender, and `From` of mails whose own sender is not allowed there.
    pub(super) mail_from: Mailbox,
    /// The domains whose addresses may stand in `From`: A-labels in lower case.
    pub(super) allowed_from_domains: Vec<String>,
    /// What signs every mail, if it is set.
    pub(super) dkim: Option<Dkim>,
}

/// The addresses of a mail.
struct Addresses {
    from: Mailbox,
    reply_to: Option<Mailbox>,
    recipient: Mailbox,
}

/// A mail as it goes to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) recipient: Address,
    /// `<hash@domain>`
    pub(super) message_id: String,
    /// Whether an address in it is not ASCII (RFC 6531).
    pub(super) needs_smtputf8: bool,
    /// The octets of the message, as RFC 1870 counts them: without dot-stuffing and final dot.
    pub(super) size_octets: usize,
    /// What follows DATA: the message with its dots stuffed, and the final dot.
    pub(super) data: Vec<u8>,
}

impl Sender {
    /// The mail of a job.
    ///
    /// # Errors
    /// Permanent, if the job's data is none: a required field missing, a field of another type, a
    /// bad address, a control character in what stands in a header, what is too long or can't be
    /// sent. The reason names the field and shows nothing of the job.
    pub(super) fn mail(&self, job: &Job, record: &ConsumerRecord) -> Result<Mail, JobError> {
        let data = job.data().map_err(|error| JobError::permanent(error.to_string()))?;
        let addresses = self.addresses(&data)?;
        check_subject(&data.subject)?;
        let message_id = self.message_id(job);
        let date = Date::first(&[job.schedule_time(), job.created_at()], record.timestamp);
        let content = Content::of(&data, &message_id[1..=NAME_DIGITS])?;

        let body = content.body();
        let mut head = String::with_capacity(HEAD_BYTES + body.len() + body.len() / 64);
        let mut dated = Headers::new();
        dated.set(DateHeader::new(SystemTime::from(date)));
        let _ = write!(head, "{dated}");
        write_field(&mut head, "From", addresses.from.as_str());
        if let Some(address) = &addresses.reply_to {
            write_field(&mut head, "Reply-To", address.as_str());
        }
        write_field(&mut head, "To", addresses.recipient.as_str());
        write_field(&mut head, "Subject", &free_text::encode("Subject", &data.subject));
        write_field(&mut head, "Message-ID", &message_id);
        // No automatic reply (RFC 3834 section 5).
        write_field(&mut head, "Auto-Submitted", "auto-generated");
        header::write(&mut head, &data.headers)?;
        write_field(&mut head, "MIME-Version", "1.0");
        content.write_headers(&mut head);
        if let Some(dkim) = &self.dkim {
            let signature = dkim.sign(&head, body);
            head.insert_str(0, &signature);
        }
        head.push_str("\r\n");

        let needs_smtputf8 = addresses.need_smtputf8() || self.mail_from.needs_smtputf8();
        let (data, size_octets) = data_of(head, body);
        let recipient = addresses.recipient.to_lettre();
        Ok(Mail { recipient, message_id, needs_smtputf8, size_octets, data })
    }

    /// `ReplyTo` stands where the service would have set another one.
    fn addresses(&self, data: &JobData) -> Result<Addresses, JobError> {
        let source = mailbox("SourceAddress", &data.source_address)?;
        let recipient = mailbox("DestinationAddress", &data.destination_address)?;
        let given = data.reply_to.as_deref().map(|it| mailbox("ReplyTo", it)).transpose()?;
        let (from, own) = if self.allows(&source) {
            (source, None)
        } else {
            (self.mail_from.clone(), Some(source))
        };
        Ok(Addresses { from, reply_to: given.or(own), recipient })
    }

    fn allows(&self, source: &Mailbox) -> bool {
        let allowed = |domain: &String| domain.eq_ignore_ascii_case(source.domain());
        self.allowed_from_domains.iter().any(allowed)
    }

    /// Names the job, not the attempt.
    fn message_id(&self, job: &Job) -> String {
        let name = job.name_hash();
        let domain = self.mail_from.domain();
        let mut id = String::with_capacity(2 * name.len() + domain.len() + 3);
        id.push('<');
        for nibble in name.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            id.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        id.extend(["@", domain, ">"]);
        id
    }
}

impl Addresses {
    fn need_smtputf8(&self) -> bool {
        let in_headers = [Some(&self.from), self.reply_to.as_ref(), Some(&self.recipient)];
        in_headers.into_iter().flatten().any(Mailbox::needs_smtputf8)
    }
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, JobError> {
    let refused = |error: AddressError| JobError::permanent(format!("{field}: {error}"));
    Mailbox::parse_for_header(text).map_err(refused)
}

fn check_subject(subject: &str) -> Result<(), JobError> {
    if subject.bytes().any(|b| b.is_ascii_control()) {
        return Err(JobError::permanent("Subject: found a control character, expected none"));
    }
    if subject.len() > SUBJECT_LIMIT_BYTES {
        let found = subject.len();
        let reason =
            format!("Subject: found {found} bytes, expected at most {SUBJECT_LIMIT_BYTES}");
        return Err(JobError::permanent(reason));
    }
    Ok(())
}

/// Writes a header whose value is ASCII (or an address that needs SMTPUTF8) and is folded already.
fn write_field(head: &mut String, name: &str, value: &str) {
    head.extend([name, ": ", value, "\r\n"]);
}

/// The message with its dots stuffed and the final dot (RFC 5321 section 4.5.2), and its octets
/// without them.
fn data_of(head: String, body: &[u8]) -> (Vec<u8>, usize) {
    let mut data = head.into_bytes();
    let mut size_octets = data.len() + body.len();
    let mut rest = body;
    while !rest.is_empty() {
        if rest[0] == b'.' {
            data.push(b'.');
        }
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        data.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    if !body.is_empty() && !body.ends_with(b"\n") {
        data.extend_from_slice(b"\r\n");
        size_octets += 2;
    }
    data.extend_from_slice(b".\r\n");
    (data, size_octets)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::codec::Codec as _;
    use crate::job::{Job, JobCodec};
    use crate::record::{ConsumerRecord, TopicPartition};
    use crate::sinks::JobErrorKind;

    use super::{Mail, Mailbox, Sender};

    fn sender() -> Sender {
        Sender {
            mail_from: Mailbox::parse("service@example.com").unwrap(),
            allowed_from_domains: vec!["example.com".into(), "xn--bcher-kva.example".into()],
            dkim: None,
        }
    }

    fn job(value: &serde_json::Value) -> (Job, ConsumerRecord) {
        let value = Bytes::from(value.to_string());
        let job = JobCodec.decode(Some(&value)).unwrap();
        let record =
            ConsumerRecord::new(TopicPartition::new("jobs", 0), 0, 1).timestamp(1_000).value(value);
        (job, record)
    }

    fn mail(source: &str, to: &str, subject: &str, message: &str) -> Result<Mail, String> {
        let (job, record) = job(&serde_json::json!({
            "Id": "1", "Status": 2, "ScheduleTime": "2024-01-01T00:00:00Z",
            "JobData": {"SourceAddress": source, "DestinationAddress": to,
                        "Subject": subject, "Message": message},
        }));
        sender().mail(&job, &record).map_err(|error| {
            assert_eq!(error.kind(), JobErrorKind::Permanent);
            error.reason().to_owned()
        })
    }

    fn data(source: &str, subject: &str, message: &str) -> String {
        String::from_utf8(mail(source, "to@example.net", subject, message).unwrap().data).unwrap()
    }

    #[test]
    fn a_mail_is_what_it_is_byte_for_byte() {
        assert_eq!(
            data("a@example.com", "Hello", "Hi\nthere"),
            "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n\
             From: a@example.com\r\n\
             To: to@example.net\r\n\
             Subject: Hello\r\n\
             Message-ID: <cf1bd10d9de13d14210328af943f2aa8@example.com>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             Hi\r\nthere\r\n.\r\n"
        );
    }

    #[test]
    fn only_an_allowed_domain_stands_in_from() {
        for source in ["a@example.com", "a@EXAMPLE.com", "a@b\u{fc}cher.example"] {
            let data = data(source, "", "");
            assert!(!data.contains("Reply-To") && data.contains("From: a@"), "{data}");
        }
        for source in ["a@evil.example", "a@sub.example.com", "a@example.com.evil.example"] {
            let data = data(source, "", "");
            assert!(data.contains("\r\nFrom: service@example.com\r\n"), "{data}");
            assert!(data.contains(&format!("\r\nReply-To: {source}\r\n")), "{data}");
        }
    }

    #[test]
    fn dots_are_stuffed_and_the_size_is_that_of_the_message() {
        let mail = mail("a@example.com", "to@example.net", "", ".\n..\n.x\n").unwrap();
        let text = String::from_utf8(mail.data).unwrap();
        assert!(text.ends_with("\r\n\r\n..\r\n...\r\n..x\r\n.\r\n"), "{text}");
        assert_eq!(mail.size_octets, text.len() - 3 - ".\r\n".len());
        assert!(data("a@example.com", "", "").ends_with("7bit\r\n\r\n.\r\n"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_showing_it() {
        let cases = [
            mail("secret", "to@example.net", "", ""),
            mail("=?utf-8?q?secret?=@example.com", "to@example.net", "", ""),
            mail("a@example.com", "\"=?utf-8?q?secret?=\"@example.net", "", ""),
            mail("a@example.com", "secret\u{202e}@example.net", "", ""),
            mail("a@example.com", "secret secret@example.com", "", ""),
            mail("a@example.com", "b@example.com", "secret\r\nBcc: x@y", ""),
            mail("a@example.com", "b@example.com", "secret\u{7f}", ""),
            mail("a@example.com", "b@example.com", &"secret".repeat(6000), ""),
        ];
        for case in cases {
            let reason = case.unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
    }

    #[test]
    fn the_message_id_names_id_and_schedule_time_unambiguously() {
        let id = |id: &str, time: serde_json::Value| {
            let (job, _) = job(&serde_json::json!({"Id": id, "Status": 2, "ScheduleTime": time}));
            sender().message_id(&job)
        };
        let all = [
            id("1", "23".into()),
            id("12", "3".into()),
            id("1", "".into()),
            id("1", serde_json::Value::Null),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one));
            assert_eq!(one.len(), "<@example.com>".len() + 32);
        }
        assert_eq!(all[0], id("1", "23".into()));
    }

    #[test]
    fn the_date_falls_back_and_never_panics() {
        for (schedule, created, expected) in [
            ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "Mon, 01 Jan 2024 00:00:00"),
            ("0001-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "Wed, 01 Jan 2025 00:00:00"),
            ("9999-12-31T23:59:59Z", "", "Fri, 31 Dec 9999 23:59:59"),
            ("10000-01-01T00:00:00Z", "soon", "Thu, 01 Jan 1970 00:00:01"),
        ] {
            let (job, record) = job(&serde_json::json!({
                "Id": "1", "Status": 2, "ScheduleTime": schedule, "CreatedAt": created,
                "JobData": {"SourceAddress": "a@b.example", "DestinationAddress": "c@d.example",
                            "Subject": "", "Message": ""},
            }));
            let data = String::from_utf8(sender().mail(&job, &record).unwrap().data).unwrap();
            assert!(data.starts_with(&format!("Date: {expected} +0000\r\n")), "{data}");
        }
    }

    #[test]
    fn a_non_ascii_local_part_needs_smtputf8_and_a_domain_does_not() {
        let needs = |source, to| mail(source, to, "", "").unwrap().needs_smtputf8;
        assert!(needs("jos\u{e9}@example.com", "b@example.com"));
        assert!(needs("a@example.com", "jos\u{e9}@example.com"));
        assert!(!needs("a@b\u{fc}cher.example", "c@b\u{fc}cher.example"));
    }
}
