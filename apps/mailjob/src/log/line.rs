//! What a log line looks like.

use std::fmt::{self, Write as _};

use mailjob::settings::LogFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
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
        let head =
            Head { time: time().unwrap_or_default(), level: tracing::Level::WARN, thread: "log" };
        let message = "Log lines dropped: they were not read in time".to_owned();
        let fields = Fields { message, rest: vec![("lines", lines.into())] };
        self.one(&head, fields) + "\n"
    }

    fn one(&self, head: &Head<'_>, fields: Fields) -> String {
        match self.format {
            LogFormat::Text => self.text(head, &fields),
            LogFormat::Json => self.json(head, fields),
        }
    }

    fn text(&self, head: &Head<'_>, fields: &Fields) -> String {
        let Head { time, level, thread } = head;
        let (pid, message) = (self.pid, &fields.message);
        let mut line = format!("{time} {level:<5} [{thread} {pid}] {}", one_line(message));
        let environment = self.environment.clone().map(|name| ("environment", name.into()));
        let rest = fields.rest.iter().map(|(name, value)| (*name, value.clone()));
        for (name, value) in rest.chain(environment) {
            // A String takes all that is written to it.
            let _ = match &value {
                Value::String(text) if is_bare(text) => write!(line, " {name}={text}"),
                other => write!(line, " {name}={other}"),
            };
        }
        line
    }

    fn json(&self, head: &Head<'_>, fields: Fields) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), head.time.clone().into());
        object.insert("level".to_owned(), head.level.to_string().into());
        object.insert("thread".to_owned(), head.thread.into());
        object.insert("pid".to_owned(), self.pid.into());
        if let Some(environment) = &self.environment {
            object.insert("environment".to_owned(), environment.clone().into());
        }
        object.insert("message".to_owned(), fields.message.into());
        object.extend(fields.rest.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(object).to_string()
    }
}

struct Head<'a> {
    time: String,
    level: tracing::Level,
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
        let head = Head {
            time: time()?,
            level: *event.metadata().level(),
            thread: thread.name().unwrap_or("unnamed"),
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, "{}", self.one(&head, fields))
    }
}

/// Now, in UTC, by RFC 3339.
fn time() -> Result<String, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    time.truncate(MILLISECONDS_CHARS);
    time.push('Z');
    Ok(time)
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

/// Whether a value needs no quotes.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

/// A line of log is one line, whatever a message holds.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head<'static> {
        let time = "2024-01-01T00:00:00.123Z".to_owned();
        Head { time, level: tracing::Level::INFO, thread: "main" }
    }

    fn fields() -> Fields {
        let id = "two\nlines".into();
        Fields { message: "Job finished".into(), rest: vec![("id", id), ("offset", 7.into())] }
    }

    #[test]
    fn a_line_of_text_has_time_level_thread_and_process_and_stays_one_line() {
        let line = Line { format: LogFormat::Text, environment: Some("test".into()), pid: 42 };
        let expected = "2024-01-01T00:00:00.123Z INFO  [main 42] Job finished id=\"two\\nlines\" \
                        offset=7 environment=test";
        assert_eq!(line.text(&head(), &fields()), expected);
    }

    #[test]
    fn a_line_of_json_is_an_object() {
        let line = Line { format: LogFormat::Json, environment: None, pid: 42 };
        let object: Value = serde_json::from_str(&line.json(&head(), fields())).unwrap();
        assert_eq!(object["message"], "Job finished");
        assert_eq!(object["pid"], 42);
        assert_eq!(object["id"], "two\nlines");
    }

    #[test]
    fn the_time_has_milliseconds() {
        let time = time().unwrap();
        assert_eq!((time.len(), &time[19..20], &time[23..]), (24, ".", "Z"), "{time}");
    }
}
