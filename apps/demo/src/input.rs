//! The jobs of a demo: built in, from a file, or made up.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::output::cannot;

/// The default jobs, one of every fate.
const FIXTURES: &[u8] = include_bytes!("../../../fixtures/jobs.jsonl");

/// Where the jobs of a demo come from.
pub(crate) enum Input {
    /// The built-in ones, for whose addresses the inbox misbehaves.
    Fixtures(Vec<Bytes>),
    /// Those of a file.
    Jobs(Vec<Bytes>),
    /// So many made-up ones.
    Generated(u64),
}

impl Input {
    /// Reads the jobs.
    ///
    /// # Errors
    /// If the file can't be read; the error names it.
    pub(crate) fn read(jobs: Option<&Path>, generate: Option<u64>) -> io::Result<Self> {
        match (jobs, generate) {
            (_, Some(count)) => Ok(Self::Generated(count)),
            (None, None) => Ok(Self::Fixtures(lines(&Bytes::from_static(FIXTURES)))),
            (Some(path), None) => {
                let text = read(path).map_err(|error| cannot("read", path, &error))?;
                Ok(Self::Jobs(lines(&text.into())))
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Fixtures(jobs) | Self::Jobs(jobs) => jobs.len() as u64,
            Self::Generated(count) => *count,
        }
    }

    /// The value of a job by its number, from 0.
    pub(crate) fn job(&self, number: u64) -> Bytes {
        match self {
            Self::Fixtures(jobs) | Self::Jobs(jobs) => jobs[number as usize].clone(),
            Self::Generated(_) => made_up(number).into(),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path);
    }
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

/// The lines without their line feeds; empty ones are passed over.
fn lines(text: &Bytes) -> Vec<Bytes> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| text.slice_ref(line)).collect()
}

fn made_up(number: u64) -> String {
    format!(
        r#"{{"Id":"{number:024x}","Name":"job {number}","ScheduleTime":"2024-01-01T00:00:00Z","CreatedAt":"2023-06-30T16:50:46.3042083Z","UpdatedAt":"2023-06-30T16:50:46.3042086Z","Status":2,"JobData":{{"SourceAddress":"shop@example.com","DestinationAddress":"customer-{number}@example.org","Subject":"Your order {number}","Message":"Hello,\n\nyour order {number} has been shipped.\n\nThe shop"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_value_without_its_line_feed_and_empty_lines_are_passed_over() {
        let lines = lines(&Bytes::from_static(b"a\n\n b \r\n\xff\n"));
        assert_eq!(lines, [&b"a"[..], b" b \r", b"\xff"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Input::read(Some(Path::new("no/such.jsonl")), None).err().expect("an error");
        assert!(error.to_string().starts_with("cannot read 'no/such.jsonl': "), "{error}");
    }
}
