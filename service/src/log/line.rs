//! What a log line looks like.

use std::fmt::{self, Write as _};

use crate::settings::LogFormat;
use crate::traces::current_trace_id;
use crate::{is_plain, json_line, one_line};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The characters of `2024-01-01T00:00:00.000`, before microseconds and `Z`.
const MILLISECONDS_CHARS: usize = 23;

/// Time with milliseconds, level, thread, process, message and fields; as text or as an object.
#[derive(Clone)]
pub(super) struct Line {
    format: LogFormat,
    environment: Option<String>,
    pid: u32,
}

impl Line {
    pub(super) fn new(format: LogFormat, environment: Option<String>) -> Self {
        Self { format, environment, pid: std::process::id() }
    }

    /// The line in the place of lines that were dropped.
    pub(super) fn dropped(&self, lines: u64) -> String {
        let mut line = String::new();
        let head = Head { level: Level::WARN, thread: "log" };
        let message = &"Log lines dropped: they were not read in time";
        // A String takes all that is written to it.
        let _ = self.write(&mut line, &head, |telling| {
            telling.message(message);
            telling.field("lines", lines);
        });
        line
    }

    /// Writes a line; `record` shows its fields to the visitor that it is given.
    fn write(
        &self,
        out: &mut dyn fmt::Write,
        head: &Head<'_>,
        record: impl Fn(&mut Telling<'_>),
    ) -> fmt::Result {
        let Head { level, thread } = head;
        let (format, pid) = (self.format, self.pid);
        match format {
            LogFormat::Text => {
                time(out)?;
                write!(out, " {level:<5} [{} {pid}] ", one_line(thread))?;
            }
            LogFormat::Json => {
                out.write_str("{\"time\":\"")?;
                time(out)?;
                let thread = json_line(thread);
                write!(out, "\",\"level\":\"{level}\",\"thread\":{thread},\"pid\":{pid}")?;
            }
        }
        let mut telling = Telling { out, format, section: Section::Message, told: Ok(()) };
        record(&mut telling);
        telling.section = Section::Fields;
        record(&mut telling);
        if let Some(environment) = &self.environment {
            telling.text("environment", environment);
        }
        telling.told?;
        out.write_str(match format {
            LogFormat::Text => "\n",
            LogFormat::Json => "}\n",
        })
    }
}

struct Head<'a> {
    level: Level,
    thread: &'a str,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let head = Head { level: *event.metadata().level(), thread };
        // What is logged in the midst of an execution, by a ledger for instance, has its trace.
        let trace_id = current_trace_id();
        self.write(&mut writer, &head, |telling| {
            event.record(telling);
            if let Some(trace_id) = trace_id {
                telling.text("trace_id", &trace_id.to_string());
            }
        })
    }
}

/// Writes now, in UTC, by RFC 3339.
fn time(out: &mut dyn fmt::Write) -> fmt::Result {
    let mut time = String::with_capacity(MILLISECONDS_CHARS + 8);
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    out.write_str(time.get(..MILLISECONDS_CHARS).unwrap_or(&time))?;
    out.write_char('Z')
}

/// What of an event is written: the message comes before the fields, wherever it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Message,
    Fields,
}

/// Writes the fields of an event, as they are shown.
struct Telling<'a> {
    out: &'a mut dyn fmt::Write,
    format: LogFormat,
    section: Section,
    told: fmt::Result,
}

impl Telling<'_> {
    fn message(&mut self, message: &dyn fmt::Display) {
        if self.section == Section::Message && self.told.is_ok() {
            self.told = match self.format {
                LogFormat::Text => write!(OneLine(self.out), "{message}"),
                LogFormat::Json => {
                    write!(self.out, ",\"message\":{}", json_line(&message.to_string()))
                }
            };
        }
    }

    /// A number, or what else needs no quotes.
    fn field(&mut self, name: &str, value: impl fmt::Display) {
        if self.section == Section::Fields && self.told.is_ok() {
            self.told = match self.format {
                LogFormat::Text => write!(self.out, " {name}={value}"),
                LogFormat::Json => write!(self.out, ",\"{name}\":{value}"),
            };
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        match self.format {
            LogFormat::Text if is_bare(value) => self.field(name, value),
            LogFormat::Text => self.field(name, one_line(&json(value).to_string())),
            LogFormat::Json => self.field(name, json_line(value)),
        }
    }
}

impl Visit for Telling<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match (field.name(), self.section) {
            ("message", _) => self.message(&format_args!("{value:?}")),
            (name, Section::Fields) => self.text(name, &format!("{value:?}")),
            (_, Section::Message) => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message(&value),
            name => self.text(name, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Infinity is null: JSON has no other word for it.
        self.field(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), value);
    }
}

/// The text as JSON has it.
fn json(text: &str) -> Value {
    text.into()
}

/// Whether a value needs no quotes.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=')
}

/// A line of log is one line, whatever a message holds.
struct OneLine<'a>(&'a mut dyn fmt::Write);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut pieces = text.split(|c| !is_plain(c));
        self.0.write_str(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| {
            self.0.write_char(' ')?;
            self.0.write_str(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, environment: Option<String>) -> String {
        let mut text = String::new();
        let head = Head { level: Level::INFO, thread: "main" };
        let line = Line { format, environment, pid: 42 };
        let written = line.write(&mut text, &head, |telling| {
            telling.text("id", "two\nlines");
            telling.field("offset", 7);
            telling.message(&"Job\nfinished");
        });
        written.unwrap();
        text
    }

    #[test]
    fn a_line_of_text_has_time_level_thread_and_process_and_stays_one_line() {
        let line = line(LogFormat::Text, Some("test".into()));
        let (time, rest) = line.split_at(24);
        assert_eq!((&time[19..20], &time[23..]), (".", "Z"), "{time} has milliseconds");
        let expected =
            " INFO  [main 42] Job finished id=\"two\\nlines\" offset=7 environment=test\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn no_character_of_an_id_or_a_message_commands_the_terminal() {
        let wild = "\u{9b}31m\u{7f}\u{202e}\u{2028}\u{1b}\"\n\u{2067}ö";
        for (format, escaped) in [
            (LogFormat::Text, r#"id="\u{9b}31m\u{7f}\u{202e}\u{2028}\u001b\"\n\u{2067}ö""#),
            (LogFormat::Json, r#""id":"\u009b31m\u007f\u202e\u2028\u001b\"\n\u2067ö""#),
        ] {
            let (mut text, head) = (String::new(), Head { level: Level::INFO, thread: wild });
            let line = Line { format, environment: Some(wild.to_owned()), pid: 42 };
            line.write(&mut text, &head, |telling| {
                telling.text("id", wild);
                telling.message(&wild);
            })
            .unwrap();
            let line = text.strip_suffix('\n').unwrap();
            assert!(line.contains(escaped), "{line}");
            assert!(line.chars().all(is_plain), "{line:?}");
        }
    }

    #[test]
    fn a_line_of_json_is_an_object() {
        let line = line(LogFormat::Json, Some("test".into()));
        let object: Value = serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(object["time"].as_str().map(str::len), Some(24));
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["thread"], "main");
        assert_eq!(object["pid"], 42);
        assert_eq!(object["message"], "Job\nfinished");
        assert_eq!(object["id"], "two\nlines");
        assert_eq!(object["offset"], 7);
        assert_eq!(object["environment"], "test");
    }
}
