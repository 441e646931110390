//! Sends dead letters back.

use std::io::Write;

use jobstream::kafka::{Redrive, RedriveError, RunPosition, TopicReader};
use jobstream::record::{ConsumerRecord, ProducerRecord};

use super::args::RedriveArgs;
use super::origins::Origins;
use super::report::{Item, Report};
use super::run::{Run, failed};
use super::selection::Selection;
use crate::operations::{Brokers, OperationError, now_ms};

pub(super) async fn run(brokers: &Brokers, args: &RedriveArgs) -> Result<(), OperationError> {
    let reader = brokers.reader(&brokers.settings.topics.dead_letters)?;
    let (run, redrive) = begin(brokers, args, &reader).await?;
    let origins = Origins::new(brokers, run.to_topic.as_deref(), run.selection.names_groups());
    let mut courier = Courier {
        run,
        redrive,
        reader,
        origins,
        report: Report::new(args),
        batch_records: args.batch.get(),
        left: args.limit.map_or(usize::MAX, std::num::NonZeroUsize::get),
    };
    courier.deliver().await?;
    let summary = courier.report.summary(&courier.run.name, courier.run.is_complete());
    // JSON lines have standard output for themselves.
    match args.json {
        true => writeln!(anstream::stderr(), "{summary}")?,
        false => writeln!(anstream::stdout(), "{summary}")?,
    }
    Ok(())
}

/// The run, from its begin or from where it is, and what sends; nothing if it is not to be sent.
async fn begin(
    brokers: &Brokers,
    args: &RedriveArgs,
    reader: &TopicReader,
) -> Result<(Run, Option<Redrive>), OperationError> {
    let selection = Selection::new(&args.filter, now_ms());
    let name = args.run.clone().unwrap_or_else(Run::made_up_name);
    // Before anything waits for a topic that is not there.
    let dead_letters = &brokers.settings.topics.dead_letters;
    brokers.existing(dead_letters).await?;
    if let Some(topic) = &args.to_topic {
        if **topic == **dead_letters {
            let text = format!("--to-topic: found the dead letters' own topic '{topic}'");
            return Err(OperationError::Usage(text));
        }
        brokers.existing(topic).await?;
    }
    let group = Run::group(brokers, &name);
    let redrive = match args.dry_run {
        true => None,
        // A process that has the run already is fenced before the run's position is read.
        false => Some(Redrive::new(&brokers.config, &group).await.map_err(|e| failed(&name, e))?),
    };
    if let Some(run) = Run::find(brokers, &name, (&selection, args.to_topic.as_deref())).await? {
        return Ok((run, redrive));
    }
    let run = Run::begin(brokers, reader, &name, selection, args.to_topic.clone()).await?;
    if let Some(redrive) = &redrive {
        let begun = redrive.publish(&[], &run.positions()).await;
        begun.map_err(|error| failed(&name, error))?;
        // Said before anything is sent, for the operator who may have to go on with it.
        writeln!(anstream::stderr(), "run '{name}' begins")?;
    }
    Ok((run, redrive))
}

struct Courier<'a> {
    run: Run,
    redrive: Option<Redrive>,
    reader: TopicReader,
    origins: Origins<'a>,
    report: Report,
    batch_records: usize,
    /// How many more may be sent.
    left: usize,
}

impl Courier<'_> {
    /// Sends what is left of the run, one partition after another, until the limit.
    async fn deliver(&mut self) -> Result<(), OperationError> {
        for index in 0..self.run.left.len() {
            let range = self.run.left[index];
            self.reader.open(vec![range]).await?;
            while self.left > 0 {
                let letters = self.reader.next(self.batch_records).await?;
                if letters.is_empty() {
                    // What is behind the last record is dealt with, too.
                    let position = self.run.advance(index, range.end.max(range.start));
                    self.send(Vec::new(), position).await?;
                    break;
                }
                let (items, next) = self.items(letters).await?;
                let position = self.run.advance(index, next);
                self.send(items, position).await?;
            }
        }
        Ok(())
    }

    /// What becomes of the next dead letters, up to the limit, and the offset behind them.
    async fn items(
        &mut self,
        letters: Vec<ConsumerRecord>,
    ) -> Result<(Vec<Item>, i64), OperationError> {
        let (mut items, mut next) = (Vec::new(), 0);
        for letter in letters {
            if self.left == 0 {
                break;
            }
            next = letter.offset + 1;
            if self.run.selection.has(&letter) {
                let back = self.origins.redriven(&letter).await?;
                self.left -= usize::from(back.is_ok());
                items.push(Item { letter, back });
            }
        }
        Ok((items, next))
    }

    /// Sends them with the run's position; what the broker refuses as too large is passed over.
    async fn send(
        &mut self,
        mut items: Vec<Item>,
        position: RunPosition,
    ) -> Result<(), OperationError> {
        if let Some(redrive) = &self.redrive {
            let positions = [position];
            loop {
                let outputs: Vec<ProducerRecord> =
                    items.iter().filter_map(|item| item.back.clone().ok()).collect();
                match redrive.publish(&outputs, &positions).await {
                    Ok(()) => break,
                    Err(RedriveError::TooLarge(indices)) => {
                        self.left += indices.len();
                        refuse(&mut items, &indices);
                    }
                    Err(error) => return Err(failed(&self.run.name, error)),
                }
            }
        }
        Ok(self.report.batch(&items)?)
    }
}

/// Passes over those of the items to be sent that have these indices among them.
fn refuse(items: &mut [Item], indices: &[usize]) {
    let sent = items.iter_mut().filter(|item| item.back.is_ok());
    for (index, item) in sent.enumerate() {
        if indices.contains(&index) {
            item.back = Err("its topic takes no record of that size".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn a_record_that_is_refused_is_found_among_those_that_were_sent() {
        let item = |back| Item { letter: letter(&[]), back };
        let sent = || Ok(ProducerRecord::to("jobs"));
        let mut items = [item(sent()), item(Err(String::new())), item(sent()), item(sent())];
        refuse(&mut items, &[1]);
        let sent: Vec<_> = items.iter().map(|item| item.back.is_ok()).collect();
        assert_eq!(sent, [true, false, false, true]);
    }
}
