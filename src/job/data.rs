//! What a mail job holds.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::codec::CodecError;

use super::json::{fields, found, string};

/// What a mail job holds: all that was given, nothing checked but that it is there and of its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobData {
    /// `SourceAddress`: whose mail it is.
    pub source_address: String,
    /// `DestinationAddress`: to whom it goes.
    pub destination_address: String,
    /// `Subject`, possibly empty.
    pub subject: String,
    /// `Message`: the text, possibly empty.
    pub message: String,
    /// `Html`: the same for readers that show HTML, if it is there.
    pub html: Option<String>,
    /// `Attachments`, in their order; none if it is not there.
    pub attachments: Vec<Attachment>,
    /// `ReplyTo`: where answers go, if it is there.
    pub reply_to: Option<String>,
    /// `Headers`: names and values of further header fields, in their order.
    pub headers: Vec<(String, String)>,
}

/// A file that goes with a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// `Name`: its file's name.
    pub name: String,
    /// `ContentType`: its media type, with parameters or without (RFC 2045 section 5.1).
    pub content_type: String,
    /// `Content`: its bytes, in base64 (RFC 4648 section 4).
    pub content: String,
    /// `ContentId`: by what the HTML refers to it (RFC 2392), if it does.
    pub content_id: Option<String>,
}

impl JobData {
    pub(super) fn from_object(text: &str) -> Result<Self, CodecError> {
        // At one go, where every field is there once; else field by field, to say what is wrong.
        if text.starts_with('{')
            && let Ok(given) = serde_json::from_str::<Given<'_>>(text)
        {
            let Given { source_address, destination_address, subject, message, .. } = given;
            let more = Self::more(given.html, given.attachments, given.reply_to, given.headers)?;
            return Ok(Self { source_address, destination_address, subject, message, ..more });
        }
        let [mut source, mut destination, mut subject, mut message] = [None; 4];
        let [mut html, mut attachments, mut reply_to, mut headers] = [None; 4];
        fields(text, |name, raw| {
            let slot = match name {
                Some("SourceAddress") => &mut source,
                Some("DestinationAddress") => &mut destination,
                Some("Subject") => &mut subject,
                Some("Message") => &mut message,
                Some("Html") => &mut html,
                Some("Attachments") => &mut attachments,
                Some("ReplyTo") => &mut reply_to,
                Some("Headers") => &mut headers,
                _ => return Ok(()),
            };
            *slot = Some(raw);
            Ok(())
        })
        .map_err(|error| CodecError::new(format!("JobData: {error}")))?;
        Ok(Self {
            source_address: required("SourceAddress", source)?,
            destination_address: required("DestinationAddress", destination)?,
            subject: required("Subject", subject)?,
            message: required("Message", message)?,
            ..Self::more(html, attachments, reply_to, headers)?
        })
    }

    /// The fields that may be missing.
    fn more(
        html: Option<&str>,
        attachments: Option<&str>,
        reply_to: Option<&str>,
        headers: Option<&str>,
    ) -> Result<Self, CodecError> {
        Ok(Self {
            html: html.map(|raw| string("Html", raw)).transpose()?,
            attachments: attachments.map(all_attachments).transpose()?.unwrap_or_default(),
            reply_to: reply_to.map(|raw| string("ReplyTo", raw)).transpose()?,
            headers: headers.map(all_headers).transpose()?.unwrap_or_default(),
            ..Self::default()
        })
    }
}

/// The fields, where each is there at most once and none of the first four is missing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given<'a> {
    source_address: String,
    destination_address: String,
    subject: String,
    message: String,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    html: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    attachments: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    reply_to: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    headers: Option<&'a str>,
}

/// The value as it stands in the text. That it is there counts, also if it is null.
fn as_it_stands<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de str>, D::Error> {
    <&RawValue>::deserialize(json).map(|raw| Some(raw.get()))
}

fn required(name: &str, raw: Option<&str>) -> Result<String, CodecError> {
    string(name, raw.ok_or_else(|| CodecError::new(format!("{name} is missing")))?)
}

fn all_attachments(raw: &str) -> Result<Vec<Attachment>, CodecError> {
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
        return Err(found("Attachments", raw, "a list of objects"));
    };
    list.iter().enumerate().map(|(index, raw)| attachment(index, raw.get())).collect()
}

fn attachment(index: usize, raw: &str) -> Result<Attachment, CodecError> {
    let place = format!("Attachments[{index}]");
    if !raw.starts_with('{') {
        return Err(found(&place, raw, "an object"));
    }
    let [mut name, mut content_type, mut content, mut content_id] = [None; 4];
    fields(raw, |field, raw| {
        let slot = match field {
            Some("Name") => &mut name,
            Some("ContentType") => &mut content_type,
            Some("Content") => &mut content,
            Some("ContentId") => &mut content_id,
            _ => return Ok(()),
        };
        *slot = Some(raw);
        Ok(())
    })?;
    let of = |field: &str| format!("{place}.{field}");
    Ok(Attachment {
        name: required(&of("Name"), name)?,
        content_type: required(&of("ContentType"), content_type)?,
        content: required(&of("Content"), content)?,
        content_id: content_id.map(|raw| string(&of("ContentId"), raw)).transpose()?,
    })
}

/// A name is the job's content, and is not shown.
fn all_headers(raw: &str) -> Result<Vec<(String, String)>, CodecError> {
    if !raw.starts_with('{') {
        return Err(found("Headers", raw, "an object"));
    }
    let mut headers = Vec::new();
    fields(raw, |name, raw| {
        let Some(name) = name else {
            return Err(CodecError::new("Headers: found a name that is no Unicode"));
        };
        let place = format!("Headers: value {}", headers.len() + 1);
        headers.push((name.to_owned(), string(&place, raw)?));
        Ok(())
    })?;
    Ok(headers)
}
