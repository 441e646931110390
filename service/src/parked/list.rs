//! Lists parked jobs.

use std::io::Write;

use super::args::ListArgs;
use super::find::{Parked, parked};
use crate::json_lines::JsonLine;
use crate::operations::{Brokers, OperationError, Table, now_ms, plain, rfc3339};

pub(super) async fn run(brokers: &Brokers, args: &ListArgs) -> Result<(), OperationError> {
    let now_ms = now_ms();
    let (from, to) = (args.from, args.to.map(|to| to.timestamp(now_ms)));
    let mut found = parked(brokers, from.map(|from| from.timestamp(now_ms))).await?;
    found.retain(|parked| {
        let is_before = |to: i64| parked.result.timestamp.is_some_and(|at| at < to);
        to.is_none_or(is_before)
            && (args.id.is_empty() || args.id.iter().any(|id| id == parked.job.id()))
    });
    let mut out = anstream::stdout().lock();
    let mut table = Table::new([
        ("ID", 24),
        ("SCHEDULED", 20),
        ("PARKED", 20),
        ("RESULT", 8),
        ("STATE", 16),
        ("ERROR", 0),
    ]);
    for parked in found.iter().take(args.limit.get()) {
        match args.json {
            true => JsonLine::from(&parked.result).write(&mut out)?,
            false => table.row(&mut out, cells(parked).each_ref().map(String::as_str))?,
        }
    }
    if found.is_empty() {
        drop(writeln!(anstream::stderr(), "no job is parked"));
    }
    if found.len() > args.limit.get() {
        let (limit, all) = (args.limit, found.len());
        // Where standard error can't be written, the list is what it is all the same.
        drop(writeln!(anstream::stderr(), "the first {limit} of {all}; see --limit for more"));
    }
    Ok(())
}

fn cells(parked: &Parked) -> [String; 6] {
    let Parked { result, job, awaited } = parked;
    [
        job.id().to_owned(),
        job.schedule_time().unwrap_or("-").to_owned(),
        result.timestamp.map_or_else(|| "-".to_owned(), rfc3339),
        format!("{}:{}", result.partition.partition, result.offset),
        awaited.map_or_else(|| "open".to_owned(), |resolution| format!("{resolution} awaited")),
        plain(result.headers.get("job-error").map(|error| &**error)),
    ]
}
