//! The context of a trace: in the headers of a record, as W3C's Trace Context has it, and around
//! what is under way.

use jobstream::record::Headers;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    WithContext,
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// The longest `tracestate` that is kept: what the specification (section 3.3.1.5) asks for.
const TRACESTATE_LIMIT_CHARS: usize = 512;

/// The context that a record carries. A malformed `traceparent` is none, and a malformed
/// `tracestate` is passed over.
pub(super) fn extract(headers: &Headers) -> Option<SpanContext> {
    let text = |name| std::str::from_utf8(headers.get(name)?).ok();
    let (trace_id, span_id, flags) = parse(text(TRACEPARENT)?)?;
    let state = text(TRACESTATE).filter(|state| state.len() <= TRACESTATE_LIMIT_CHARS);
    let state: TraceState = state.and_then(|state| state.parse().ok()).unwrap_or_default();
    let context = SpanContext::new(trace_id, span_id, flags, true, state);
    context.is_valid().then_some(context)
}

/// Replaces the context that a record carries.
pub(super) fn inject(context: &SpanContext, headers: &mut Headers) {
    let (trace, span) = (context.trace_id(), context.span_id());
    let flags = (context.trace_flags() & TraceFlags::SAMPLED).to_u8();
    headers.set(TRACEPARENT, format!("00-{trace}-{span}-{flags:02x}"));
    match context.trace_state().header() {
        state if state.is_empty() => headers.remove(TRACESTATE),
        state => headers.set(TRACESTATE, state),
    }
}

/// `version-trace-span-flags`, in lower case. Later versions may have more parts.
fn parse(traceparent: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = traceparent.split('-');
    let mut part = |chars| parts.next().filter(|part| is_hex(part, chars));
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

fn is_hex(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The trace of what is under way on this thread, if it has one.
pub fn current_trace_id() -> Option<TraceId> {
    Context::map_current(|context| {
        let trace_id = context.span().span_context().trace_id();
        (trace_id != TraceId::INVALID).then_some(trace_id)
    })
}

/// The trace of a record, as its headers have it.
pub fn trace_id_of(headers: &Headers) -> Option<TraceId> {
    extract(headers).map(|context| context.trace_id())
}

/// The span that is under way: what begins within it is below it.
#[derive(Clone, Debug, Default)]
pub struct Scope(pub(super) Context);

impl Scope {
    /// The one of what is under way on this thread.
    pub fn current() -> Self {
        Self(Context::current())
    }

    /// The same future, whose polls are within this.
    pub fn around<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(pairs: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::new();
        pairs.iter().for_each(|(name, value)| headers.set(*name, (*value).to_owned()));
        headers
    }

    fn of(traceparent: &str) -> Option<SpanContext> {
        extract(&headers(&[("traceparent", traceparent)]))
    }

    #[test]
    fn a_context_is_read_and_written_as_it_was() {
        for flags in ["00", "01"] {
            let traceparent = format!("00-{TRACE}-{SPAN}-{flags}");
            let carried = headers(&[("traceparent", &traceparent), ("tracestate", "a=1,b=2")]);
            let context = extract(&carried).unwrap();
            assert_eq!(context.is_sampled(), flags == "01");
            assert!(context.is_remote());
            let mut written = headers(&[("traceparent", "another"), ("tracestate", "another=1")]);
            inject(&context, &mut written);
            assert_eq!(written, carried);
        }
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        let upper = TRACE.to_uppercase();
        for wrong in [
            "",
            "00",
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-01-more"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("00-{upper}-{SPAN}-01"),
            &format!("00-{TRACE}-+7ad6b716920333-01"),
            &format!("00-{TRACE}0-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", "0".repeat(32)),
            &format!("00-{TRACE}-{}-01", "0".repeat(16)),
            &format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let mut not_text = Headers::new();
        not_text.set("traceparent", vec![0xff; 55]);
        assert_eq!(extract(&not_text), None);
        assert_eq!(extract(&Headers::new()), None);
    }

    #[test]
    fn later_versions_and_flags_are_taken_as_far_as_they_are_known() {
        let later = of(&format!("cc-{TRACE}-{SPAN}-03-what-the-future-brings")).unwrap();
        assert_eq!(later.trace_flags(), TraceFlags::SAMPLED);
        assert_eq!(later.trace_id().to_string(), TRACE);
    }

    #[test]
    fn a_tracestate_that_is_malformed_or_long_costs_nothing_but_itself() {
        let long = format!("a={}", "x".repeat(600));
        for state in ["no list", &long] {
            let traceparent = format!("00-{TRACE}-{SPAN}-01");
            let carried = headers(&[("traceparent", &traceparent), ("tracestate", state)]);
            let mut written = carried.clone();
            inject(&extract(&carried).unwrap(), &mut written);
            assert_eq!(written, headers(&[("traceparent", &traceparent)]));
        }
    }
}
