//! Says what was sent, and what was passed over.

use std::collections::BTreeMap;
use std::io::{self, Write};

use indicatif::HumanCount;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use serde::Serialize;

use super::args::RedriveArgs;
use super::letter::{Letter, REDRIVES};
use crate::json_lines::{Header, Text, headers};
use crate::one_line;
use crate::operations::{Table, plain};

/// A dead letter, and what is sent for it, or why it is passed over.
pub(super) struct Item {
    pub(super) letter: ConsumerRecord,
    pub(super) back: Result<ProducerRecord, String>,
}

/// Shows items, and counts them.
pub(super) struct Report {
    json: bool,
    dry: bool,
    table: Table<5>,
    pub(super) sent: u64,
    passed_over: u64,
}

/// An item as one JSON line.
#[derive(Serialize)]
struct Line<'a> {
    dead_letter: String,
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(flatten)]
    record: Option<Back<'a>>,
}

/// The record that is sent.
#[derive(Serialize)]
struct Back<'a> {
    topic: &'a str,
    partition: Option<i32>,
    key: Text<'a>,
    headers: BTreeMap<&'a str, Header<'a>>,
    value: Text<'a>,
}

impl Report {
    pub(super) const fn new(args: &RedriveArgs) -> Self {
        let columns = [("AT", 8), ("REASON", 11), ("REDRIVE", 7), ("TO", 24), ("KEY", 0)];
        let table = Table::new(columns);
        Self { json: args.json, dry: args.dry_run, table, sent: 0, passed_over: 0 }
    }

    /// Shows a batch that is committed, or would be.
    pub(super) fn batch(&mut self, items: &[Item]) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let before = self.sent;
        for item in items {
            match &item.back {
                Ok(_) => self.sent += 1,
                Err(_) => self.passed_over += 1,
            }
            match (&item.back, self.json) {
                (_, true) => self.json(&mut out, item)?,
                (Ok(back), _) if self.dry => self.row(&mut out, item, back)?,
                (Ok(_), _) => {}
                (Err(cause), _) => {
                    let at = Letter(&item.letter).at();
                    writeln!(out, "{at} passed over: {}", one_line(cause))?;
                }
            }
        }
        if !self.dry && !self.json && self.sent > before {
            writeln!(out, "{} sent", HumanCount(self.sent))?;
        }
        out.flush()
    }

    fn json(&self, out: &mut impl Write, item: &Item) -> io::Result<()> {
        let back = |back: &'_ ProducerRecord| (back.topic.to_string(), back.partition);
        let named = item.back.as_ref().ok().map(back);
        let record =
            item.back.as_ref().ok().zip(named.as_ref()).map(|(back, (topic, partition))| {
                let (key, value) = (back.key.as_ref().into(), back.value.as_ref().into());
                Back { topic, partition: *partition, key, headers: headers(&back.headers), value }
            });
        let fate = match (&item.back, self.dry) {
            (Err(_), _) => "passed over",
            (Ok(_), true) => "would be sent",
            (Ok(_), false) => "sent",
        };
        let cause = item.back.as_ref().err().map(String::as_str);
        let line = Line { dead_letter: Letter(&item.letter).at(), fate, cause, record };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    fn row(&mut self, out: &mut impl Write, item: &Item, back: &ProducerRecord) -> io::Result<()> {
        let letter = Letter(&item.letter);
        let partition = back.partition.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let to = format!("{}[{partition}]", back.topic);
        let round = plain(back.headers.get(REDRIVES).map(|round| &**round));
        let key = plain(back.key.as_deref());
        self.table.row(out, [&letter.at(), letter.reason(), &round, &to, &key])
    }

    /// The line at the end.
    pub(super) fn summary(&self, run: &str, complete: bool) -> String {
        let (sent, passed_over) = (HumanCount(self.sent), HumanCount(self.passed_over));
        if self.dry {
            return format!("{sent} would be sent, {passed_over} passed over; nothing was sent");
        }
        let state = match complete {
            true => "the run is complete".to_owned(),
            false => format!("go on with --run {run}"),
        };
        format!("run '{run}': {sent} sent, {passed_over} passed over; {state}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn a_line_says_what_is_sent_in_the_form_of_every_json_line() {
        let record = letter(&[]);
        let back = ProducerRecord::to("jobs").key("k").value(&b"\xff"[..]);
        let report = Report::new(&args());
        let mut out = Vec::new();
        report.json(&mut out, &Item { letter: record.clone(), back: Ok(back) }).unwrap();
        report.json(&mut out, &Item { letter: record, back: Err("gone".into()) }).unwrap();
        let expected = r#"{"dead_letter":"2:7","fate":"would be sent","topic":"jobs","partition":null,"key":"k","headers":{},"value":{"base64":"/w=="}}
{"dead_letter":"2:7","fate":"passed over","cause":"gone"}
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    fn args() -> RedriveArgs {
        RedriveArgs {
            filter: super::super::args::Filter::default(),
            run: None,
            to_topic: None,
            dry_run: true,
            limit: None,
            batch: std::num::NonZeroUsize::MIN,
            json: true,
        }
    }
}
