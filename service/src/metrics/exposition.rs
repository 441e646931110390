//! The forms in which metrics are exposed: OpenMetrics, and the older text that every scraper
//! reads.

use std::fmt::Write as _;

/// A form of Prometheus's exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4.
    Text,
}

impl Exposition {
    /// The form that an `Accept` header (RFC 9110, section 12.5.1) prefers, of those there are: the
    /// one of the highest `q`, the first of several; the text where it names neither, or is
    /// missing.
    pub(super) fn preferred(accept: &[&str]) -> Self {
        let ranges = accept.iter().flat_map(|value| value.split(','));
        let mut best = (0.0, Self::Text);
        for (q, form) in ranges.filter_map(wanted) {
            if q > best.0 {
                best = (q, form);
            }
        }
        best.1
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts metrics in OpenMetrics to this form.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => text(&open_metrics),
        }
    }
}

/// The form that a media range asks for, and how much it is wanted.
fn wanted(range: &str) -> Option<(f64, Exposition)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut q, mut version) = (1.0, None);
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => q = value.trim().parse().ok()?,
            "version" => version = Some(value.trim().trim_matches('"')),
            _ => {}
        }
    }
    let form = match (&*media, version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Exposition::OpenMetrics,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Exposition::Text,
        _ => return None,
    };
    Some((q, form))
}

/// The same metrics in the text format 0.0.4, where a metric has the name of its samples and knows
/// neither units, nor info, nor an end.
fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", described)) => help = described.split_once(' '),
            Some(("TYPE", typed)) => {
                let Some((name, kind)) = typed.split_once(' ') else { continue };
                let (suffix, kind) = in_text(kind);
                if let Some((_, words)) = help.take().filter(|(named, _)| *named == name) {
                    // A `String` takes whatever is written.
                    let _ = writeln!(text, "# HELP {name}{suffix} {words}");
                }
                let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
            }
            _ => {}
        }
    }
    text
}

/// What the samples of a type have behind the metric's name, and what the type is called.
fn in_text(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        kind => ("", kind),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    use super::super::seconds;
    use super::Exposition::{OpenMetrics, Text};
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_wanted_most() {
        // What Prometheus 3 and 2 say, and curl.
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=\
            allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_2 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;\
            q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (&[][..], Text),
            (&["*/*"], Text),
            (&[prometheus_3], OpenMetrics),
            (&[prometheus_2], Text),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=\"1.0.0\""], OpenMetrics),
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;version=2.0.0"], Text),
            (&["application/openmetrics-text;q=0.1", "text/plain;q=0.9"], Text),
            (&["text/plain;version=0.0.4;q=0.5, application/openmetrics-text"], OpenMetrics),
            (&["text/plain, application/openmetrics-text"], Text),
            (&["application/json"], Text),
            (&["application/openmetrics-text;q=much, , ;q=1"], Text),
        ] {
            assert_eq!(Exposition::preferred(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_text_names_metrics_as_their_samples_and_has_nothing_of_open_metrics_alone() {
        let mut registry = Registry::default();
        registry.register("target", "Which program", Info::new([("name", "x")]));
        registry.register("mails", "Mails", Counter::<u64>::default());
        registry.register("open", "Open ones", Gauge::<i64>::default());
        registry.register_with_unit("took", "How long", Unit::Seconds, seconds());
        let mut open_metrics = String::new();
        encode(&mut open_metrics, &registry).unwrap();
        let text = Text.of(open_metrics.clone());
        for line in [
            "# HELP target_info Which program.",
            "# TYPE target_info gauge",
            "target_info{name=\"x\"} 1",
            "# HELP mails_total Mails.",
            "# TYPE mails_total counter",
            "mails_total 0",
            "# TYPE open gauge",
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
        let comments = text.lines().filter(|line| line.starts_with('#'));
        for line in comments {
            assert!(line.starts_with("# HELP ") || line.starts_with("# TYPE "), "{line}");
        }
        assert_eq!(OpenMetrics.of(open_metrics.clone()), open_metrics);
    }
}
