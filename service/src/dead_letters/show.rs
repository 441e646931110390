//! Shows one dead letter.

use std::io::Write;

use jobstream::record::ConsumerRecord;

use super::args::{At, ShowArgs};
use crate::json_lines::{JsonLine, Text};
use crate::one_line;
use crate::operations::{Brokers, OperationError, rfc3339};

pub(super) async fn run(brokers: &Brokers, args: &ShowArgs) -> Result<(), OperationError> {
    let topic = &brokers.settings.topics.dead_letters;
    let partitions = brokers.existing(topic).await?;
    let At { partition, offset } = args.at;
    if usize::try_from(partition).is_ok_and(|number| number >= partitions) {
        let text = format!("the topic '{topic}' has no partition {partition}");
        return Err(OperationError::Missing(text));
    }
    let found = brokers.reader(topic)?.find(partition, offset).await?;
    let missing = || {
        let text = format!("no record at {partition}:{offset} of '{topic}', or no longer");
        OperationError::Missing(text)
    };
    let record = found.ok_or_else(missing)?;
    let mut out = anstream::stdout().lock();
    match args.json {
        true => JsonLine::from(&record).write(&mut out)?,
        false => show(&mut out, &record)?,
    }
    Ok(())
}

fn show(out: &mut impl Write, record: &ConsumerRecord) -> std::io::Result<()> {
    let line = |out: &mut dyn Write, name: &str, text: &str| {
        writeln!(out, "{:<24}{}", one_line(name), one_line(text))
    };
    line(out, "at", &format!("{}@{}", record.partition, record.offset))?;
    line(out, "time", &record.timestamp.map_or_else(|| "none".to_owned(), rfc3339))?;
    line(out, "key", &text(record.key.as_ref().into()))?;
    for header in &record.headers {
        line(out, &header.name, &text(header.value.as_ref().into()))?;
    }
    let bytes = record.value.as_ref().map_or(0, |value| value.len());
    writeln!(out, "\nvalue, {bytes} bytes:")?;
    let value = text(record.value.as_ref().into());
    value.lines().try_for_each(|text| writeln!(out, "{}", one_line(text)))
}

/// As in JSON lines, without quotes where it is a text.
fn text(text: Text<'_>) -> String {
    match text {
        Text::Null => "null".to_owned(),
        Text::Utf8(text) => text.into_owned(),
        Text::Base64 { base64 } => format!("base64: {base64}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn a_record_is_shown_whole_and_on_lines_of_its_own() {
        let record = letter(&[("a", "one\ntwo"), ("a", "three")]);
        let mut out = Vec::new();
        show(&mut out, &record).unwrap();
        let expected = "\
            at                      dead[2]@7\n\
            time                    1970-01-01T00:00:01Z\n\
            key                     key\n\
            a                       one\\ntwo\n\
            a                       three\n\
            \n\
            value, 1 bytes:\n\
            base64: /w==\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
