//! Lists dead letters.

use std::io::Write;

use jobstream::kafka::TopicReader;
use jobstream::record::ConsumerRecord;

use super::args::ListArgs;
use super::letter::Letter;
use super::selection::Selection;
use crate::json_lines::JsonLine;
use crate::operations::{Brokers, OperationError, Table, now_ms, plain, rfc3339};

/// Records that are read at once.
pub(super) const READ_RECORDS: usize = 1_000;

pub(super) async fn run(brokers: &Brokers, args: &ListArgs) -> Result<(), OperationError> {
    let topic = &brokers.settings.topics.dead_letters;
    let partitions = brokers.existing(topic).await?;
    let reader = brokers.reader(topic)?;
    let selection = Selection::new(&args.filter, now_ms());
    let mut view = View { json: args.json, table: table(), left: args.limit.get() };
    for range in selection.ranges(&reader, partitions).await? {
        reader.open(vec![range]).await?;
        while view.read(&reader, &selection).await? {}
        if view.left == 0 {
            let limit = args.limit;
            // Where standard error can't be written, the list is what it is all the same.
            drop(writeln!(anstream::stderr(), "the first {limit}; see --limit for more"));
            break;
        }
    }
    if view.left == args.limit.get() {
        drop(writeln!(anstream::stderr(), "no dead letter is one of these"));
    }
    Ok(())
}

struct View {
    json: bool,
    table: Table<7>,
    left: usize,
}

impl View {
    /// Shows some of what is read; whether there may be more.
    async fn read(
        &mut self,
        reader: &TopicReader,
        selection: &Selection,
    ) -> Result<bool, OperationError> {
        let records = reader.next(READ_RECORDS).await?;
        let mut out = anstream::stdout().lock();
        for record in records.iter().filter(|record| selection.has(record)) {
            if self.left == 0 {
                return Ok(false);
            }
            self.left -= 1;
            match self.json {
                true => JsonLine::from(record).write(&mut out)?,
                false => row(&mut self.table, &mut out, record)?,
            }
        }
        Ok(!records.is_empty() && self.left > 0)
    }
}

const fn table() -> Table<7> {
    Table::new([
        ("AT", 8),
        ("TIME", 20),
        ("REASON", 11),
        ("REDRIVES", 8),
        ("ORIGIN", 24),
        ("KEY", 24),
        ("CAUSE", 0),
    ])
}

fn row(table: &mut Table<7>, out: &mut impl Write, record: &ConsumerRecord) -> std::io::Result<()> {
    let letter = Letter(record);
    let time = record.timestamp.map_or_else(|| "-".to_owned(), rfc3339);
    let origin = letter.origin().map_or_else(|| "-".to_owned(), |origin| origin.to_string());
    let (at, redrives) = (letter.at(), letter.redrives().to_string());
    let key = plain(record.key.as_deref());
    table.row(out, [&at, &time, letter.reason(), &redrives, &origin, &key, letter.cause()])
}
