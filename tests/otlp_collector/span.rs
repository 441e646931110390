//! A span as OTLP has it in JSON.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a test looks at in a span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// The service that has exported it.
    pub(crate) service: String,
    pub(crate) trace_id: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub(crate) kind: u64,
    /// Numbers are as they are written.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span of each.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) has_failed: bool,
}

impl Span {
    /// The spans of a request of OTLP.
    pub(crate) fn all_of(line: &str) -> Vec<Self> {
        let request: Value = serde_json::from_str(line).unwrap();
        let mut spans = Vec::new();
        for of_resource in list(&request, "resourceSpans") {
            let service = attributes(&of_resource["resource"])["service.name"].clone();
            for scope in list(of_resource, "scopeSpans") {
                spans.extend(list(scope, "spans").iter().map(|span| Self::of(span, &service)));
            }
        }
        spans
    }

    fn of(span: &Value, service: &str) -> Self {
        let link = |link: &Value| (text(&link["traceId"]), text(&link["spanId"]));
        let times = ["startTimeUnixNano", "endTimeUnixNano"];
        let [start, end] = times.map(|name| text(&span[name]).parse::<u64>().unwrap());
        assert!(start <= end, "{span}");
        Self {
            service: service.to_owned(),
            trace_id: text(&span["traceId"]),
            id: text(&span["spanId"]),
            parent: text(&span["parentSpanId"]),
            name: text(&span["name"]),
            kind: span["kind"].as_u64().unwrap(),
            attributes: attributes(span),
            links: list(span, "links").iter().map(link).collect(),
            has_failed: span["status"]["code"] == 2,
        }
    }
}

/// The spans below one, indented by their depth, those of one parent in the order of their names.
/// The service is shown where it is another one than the parent's.
pub(crate) fn tree(spans: &[Span], root: &Span) -> Vec<String> {
    let mut lines = vec![format!("{} ({})", root.name, root.service)];
    below(spans, root, 1, &mut lines);
    lines
}

fn below(spans: &[Span], parent: &Span, depth: usize, lines: &mut Vec<String>) {
    let is_below = |span: &&Span| span.trace_id == parent.trace_id && span.parent == parent.id;
    let mut children: Vec<_> = spans.iter().filter(is_below).collect();
    children.sort_by_key(|span| (&span.name, &span.service));
    for span in children {
        let service = match span.service == parent.service {
            true => String::new(),
            false => format!(" ({})", span.service),
        };
        lines.push(format!("{}{}{service}", "  ".repeat(depth), span.name));
        below(spans, span, depth + 1, lines);
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let attribute = |attribute: &Value| {
        let value = attribute["value"].as_object().and_then(|value| value.values().next());
        let value = value.map_or_else(String::new, |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        (text(&attribute["key"]), value)
    };
    list(of, "attributes").iter().map(attribute).collect()
}
