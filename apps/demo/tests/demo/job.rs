//! Makes the lines that the tests send.

use serde_json::{Value, json};

/// A job as a line: the fields that a mail needs, and whatever else a test wants.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: String,
    status: &'static str,
    source: String,
    destination: String,
    subject: String,
    message: String,
    data_is_text: bool,
    fields: String,
}

impl Job {
    /// A job with this `Id`; a number stands for its digits.
    pub(crate) fn new(id: impl Into<Value>) -> Self {
        Self {
            id: name(id),
            status: "2",
            source: "shop@example.com".into(),
            destination: "customer@example.org".into(),
            subject: "subject".into(),
            message: "message".into(),
            data_is_text: false,
            fields: String::new(),
        }
    }

    pub(crate) fn status(self, status: &'static str) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn from(self, source: &str) -> Self {
        Self { source: source.into(), ..self }
    }

    pub(crate) fn to(self, destination: &str) -> Self {
        Self { destination: destination.into(), ..self }
    }

    pub(crate) fn subject(self, subject: &str) -> Self {
        Self { subject: subject.into(), ..self }
    }

    pub(crate) fn message(self, message: &str) -> Self {
        Self { message: message.into(), ..self }
    }

    /// `JobData` is a string that holds JSON.
    pub(crate) fn data_as_text(self) -> Self {
        Self { data_is_text: true, ..self }
    }

    /// One more field, before the others, with this value.
    pub(crate) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push_str(&format!("{}:{},", json!(name), value.into()));
        self
    }

    pub(crate) fn line(&self) -> String {
        let data = json!({
            "SourceAddress": self.source, "DestinationAddress": self.destination,
            "Subject": self.subject, "Message": self.message,
        });
        let data = if self.data_is_text { json!(data.to_string()) } else { data };
        let (id, status, fields) = (json!(self.id), self.status, &self.fields);
        format!(r#"{{{fields}"Id":{id},"Status":{status},"JobData":{data}}}"#)
    }
}

/// A line with this text as its `JobData`.
pub(crate) fn with_data(id: impl Into<Value>, data: &str) -> String {
    format!(r#"{{"Id":{},"Status":2,"JobData":{data}}}"#, json!(name(id)))
}

fn name(id: impl Into<Value>) -> String {
    match id.into() {
        Value::String(id) => id,
        id => id.to_string(),
    }
}
