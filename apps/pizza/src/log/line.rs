//! What a log line looks like.

use std::fmt::{self, Write as _};

use jobstream_service::traces::current_trace_id;
use jobstream_service::{is_plain, one_line};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where the time of day with milliseconds is in `2024-01-01T00:00:00.000`.
const TIME_OF_DAY: std::ops::Range<usize> = 11..23;

/// The name of what has no name.
const NAMELESS: &str = "pizza";

/// `(msvc_bake) INFO 21:00:39.604 - Order '3c91b' is baked!`: the field `service`, the level, the
/// time of day in UTC, the message, the other fields, and the trace of what is under way, if any.
pub(super) struct Line;

impl Line {
    /// The line in the place of lines that were dropped.
    pub(super) fn dropped(lines: u64) -> String {
        let message = format!("{lines} log lines dropped: they were not read in time");
        let fields = Fields { message, ..Fields::default() };
        Self::text(Level::WARN, &time_of_day().unwrap_or_default(), &fields) + "\n"
    }

    fn text(level: Level, time: &str, fields: &Fields) -> String {
        let service = fields.service.as_deref().unwrap_or(NAMELESS);
        format!("({service}) {level} {time} - {}{}", fields.message, fields.rest)
    }
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(trace_id) = current_trace_id() {
            // A String takes all that is written to it.
            _ = write!(fields.rest, " trace_id={trace_id}");
        }
        writeln!(writer, "{}", Self::text(*event.metadata().level(), &time_of_day()?, &fields))
    }
}

/// Now, in UTC, with milliseconds.
fn time_of_day() -> Result<String, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    Ok(time.get(TIME_OF_DAY).unwrap_or_default().to_owned())
}

/// A message as a terminal may have it: it may have lines, and is plain otherwise.
fn message(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || is_plain(c) { c } else { ' ' }).collect()
}

#[derive(Default)]
struct Fields {
    service: Option<String>,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = message(&format!("{value:?}")),
            // A String takes all that is written to it.
            name => drop(write!(self.rest, " {name}={}", one_line(&format!("{value:?}")))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "service" => self.service = Some(value.to_owned()),
            "message" => self.message = message(value),
            name => drop(write!(self.rest, " {name}={}", one_line(&format!("{value:?}")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_service_level_and_time() {
        let fields = Fields {
            service: Some("msvc_assemble".into()),
            message: "Order '3c91b' is assembled!".into(),
            rest: String::new(),
        };
        assert_eq!(
            Line::text(Level::INFO, "21:00:39.604", &fields),
            "(msvc_assemble) INFO 21:00:39.604 - Order '3c91b' is assembled!"
        );
        let fields = Fields { message: "Hello".into(), rest: " port=1".into(), ..fields };
        let fields = Fields { service: None, ..fields };
        assert_eq!(
            Line::text(Level::WARN, "21:00:39.604", &fields),
            "(pizza) WARN 21:00:39.604 - Hello port=1"
        );
    }

    #[test]
    fn a_message_may_have_lines_and_commands_no_terminal() {
        assert_eq!(message("a\n - b\u{9b}31m\u{202e}\r\u{2028}ö"), "a\n - b 31m   ö");
    }

    #[test]
    fn lines_that_were_dropped_are_counted_in_a_line() {
        let line = Line::dropped(3);
        assert!(line.starts_with("(pizza) WARN "), "{line}");
        assert!(line.ends_with(" - 3 log lines dropped: they were not read in time\n"), "{line}");
    }
}
