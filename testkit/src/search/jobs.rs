//! The jobs of a search, and how a job is found again in what a program makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jobstream::record::ProducerRecord;
use serde_json::Value;

use super::json;
use crate::broker::DEFAULT_MAX_MESSAGE_BYTES;
use crate::broker::topic::batch_bytes;

/// Where a text stands in JSON: a pointer (RFC 6901) such as `/order/id`, or the name of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    given: String,
    pointer: String,
}

impl FromStr for KeyPath {
    type Err = JobsError;

    fn from_str(path: &str) -> Result<Self, JobsError> {
        let pointer = match path {
            "" => return Err(JobsError::NoPath),
            path if path.starts_with('/') => path.to_owned(),
            name => format!("/{}", name.replace('~', "~0")),
        };
        Ok(Self { given: path.to_owned(), pointer })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl KeyPath {
    /// The string or number that stands there, or else what does.
    fn find(&self, json: &Value) -> Result<String, String> {
        const SHOWN: usize = 80;
        match json.pointer(&self.pointer) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(other) => Err(other.to_string().chars().take(SHOWN).collect()),
            None => Err("nothing".to_owned()),
        }
    }

    /// The same in a job that begins at a line of a file.
    fn find_in_job(&self, job: &str, line: usize) -> Result<String, JobsError> {
        let value = serde_json::from_str(job).map_err(|error| json::mistake(job, line, &error))?;
        let path = self.given.clone();
        self.find(&value).map_err(|found| JobsError::NoKey { line, path, found })
    }
}

/// What is wrong with the jobs of a search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobsError {
    /// There are none.
    #[error("found no job, expected at least one: a JSON value, or a line of text, each")]
    Empty,
    /// A job is no JSON, and has to be: the file begins as JSON, or there is a path to look at.
    #[error("line {line}, column {column}: found {found}, expected {expected}")]
    Json {
        /// From 1.
        line: usize,
        /// The number of the character, from 1.
        column: usize,
        /// What was found there.
        found: String,
        /// What was expected there.
        expected: &'static str,
    },
    /// A job has no key.
    #[error("line {line}: found {found} at {path}, expected a string or a number")]
    NoKey {
        /// The line at which it begins, from 1.
        line: usize,
        /// Where the key should be.
        path: String,
        /// What was found there.
        found: String,
    },
    /// No broker would take a job's record.
    #[error(
        "line {line}: found a job whose record has {bytes} bytes, expected at most {max_bytes}"
    )]
    TooLarge {
        /// The line at which it begins, from 1.
        line: usize,
        /// The size of its record.
        bytes: usize,
        /// The largest that Kafka takes by default.
        max_bytes: usize,
    },
    /// A path is empty.
    #[error("found an empty path, expected a JSON pointer such as /id, or the name of a field")]
    NoPath,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The value of its record.
    pub value: Bytes,
    /// What identifies it in input and output.
    pub id: String,
    /// The key of its record.
    pub key: String,
}

impl Job {
    /// Its record, for a topic.
    pub(super) fn record(&self, topic: &str) -> ProducerRecord {
        ProducerRecord::to(topic).key(Bytes::from(self.key.clone())).value(self.value.clone())
    }
}

/// The jobs of a search. Several may have one id.
#[derive(Clone, Debug)]
pub struct Jobs {
    list: Vec<Job>,
    path: Option<KeyPath>,
    /// By id, the numbers of the jobs, ascending.
    ids: BTreeMap<String, Vec<usize>>,
    /// By value, the id.
    values: BTreeMap<Bytes, String>,
}

impl Jobs {
    /// Reads jobs: JSON values one after another, on one line or many, if the text begins with `{` or
    /// `[`, or else one job a line. A job is identified by what stands at `id`, or else by its number,
    /// which is the key of its record then. The record's key is what stands at `key`, or else the id.
    ///
    /// # Errors
    /// If there is no job, the text ends in the middle of one, or one has nothing at such a path or is
    /// larger than a record may be.
    pub fn parse(
        text: &str,
        id: Option<KeyPath>,
        key: Option<&KeyPath>,
    ) -> Result<Self, JobsError> {
        let mut jobs =
            Self { list: Vec::new(), path: id, ids: BTreeMap::new(), values: BTreeMap::new() };
        for (number, (line, value)) in (1..).zip(json::values(text)?) {
            let text = String::from_utf8_lossy(&value);
            let find = |path: &KeyPath| path.find_in_job(&text, line);
            let id = jobs.path.as_ref().map_or_else(|| Ok(number.to_string()), find)?;
            let key = key.map_or_else(|| Ok(id.clone()), find)?;
            let job = Job { value, id, key };
            let bytes = batch_bytes(&job.record(""));
            if bytes > DEFAULT_MAX_MESSAGE_BYTES {
                let max_bytes = DEFAULT_MAX_MESSAGE_BYTES;
                return Err(JobsError::TooLarge { line, bytes, max_bytes });
            }
            jobs.ids.entry(job.id.clone()).or_default().push(number - 1);
            jobs.values.insert(job.value.clone(), job.id.clone());
            jobs.list.push(job);
        }
        if jobs.list.is_empty() { Err(JobsError::Empty) } else { Ok(jobs) }
    }

    /// All of them, in order.
    pub fn list(&self) -> &[Job] {
        &self.list
    }

    /// The numbers of the jobs with this id, ascending.
    pub(super) fn with_id(&self, id: &str) -> &[usize] {
        self.ids.get(id).map_or(&[], Vec::as_slice)
    }

    /// The id of the job that a record is the output of: what its value has where jobs have their id,
    /// or its key, or the job's value itself.
    pub(super) fn id_of_record(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<&str> {
        let known = |id: &str| self.ids.get_key_value(id).map(|(id, _)| id.as_str());
        let in_value = || {
            let value = serde_json::from_slice(value?).ok()?;
            let found = self.path.as_ref()?.find(&value).ok()?;
            known(&found)
        };
        let in_key = || known(std::str::from_utf8(key?).ok()?);
        let whole = || self.values.get(value?).map(String::as_str);
        in_value().or_else(in_key).or_else(whole)
    }

    /// The longest id that stands in a text as a word of its own.
    pub(super) fn id_in_text(&self, text: &str) -> Option<&str> {
        let ids = self.ids.keys().filter(|id| has_word(text, id));
        ids.max_by_key(|id| id.len()).map(String::as_str)
    }
}

/// Whether a word stands in a text with neither letter nor digit beside it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn jobs(text: &str, id: Option<&str>) -> Result<Jobs, JobsError> {
        Jobs::parse(text, id.map(|id| id.parse().unwrap()), None)
    }

    proptest! {
        #[test]
        fn each_job_is_found_in_its_output(ids in proptest::collection::btree_set("[a-z0-9]{1,6}", 1..9)) {
            let lines: String = ids.iter().map(|id| format!("{{\"id\":{id:?},\"n\":1}}\n")).collect();
            let jobs = jobs(&lines, Some("id")).unwrap();
            prop_assert_eq!(jobs.list().len(), ids.len());
            for id in &ids {
                let output = format!("{{\"done\":true,\"id\":{id:?}}}");
                prop_assert_eq!(jobs.id_of_record(None, Some(output.as_bytes())), Some(id.as_str()));
                prop_assert_eq!(jobs.id_of_record(Some(id.as_bytes()), None), Some(id.as_str()));
                let text = format!("Subject: about {id}.\r\n");
                prop_assert!(jobs.id_in_text(&text).is_some_and(|found| found.len() >= id.len()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "([{}\\[\\]\",:a1\n ]|\\PC){0,40}") {
            let _ = jobs(&text, None);
            let _ = jobs(&text, Some("/id"));
        }
    }

    #[test]
    fn a_job_is_a_line_or_a_json_value() {
        let values = |text| {
            let jobs = jobs(text, None).unwrap();
            let values = jobs.list().iter();
            values.map(|job| String::from_utf8(job.value.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values("one\n\ntwo words\n"), ["one", "two words"]);
        assert_eq!(values("{\"a\": 1}\n{\n \"b\":2 }"), ["{\"a\": 1}", "{\n \"b\":2 }"]);
    }

    #[test]
    fn without_a_path_a_job_is_found_by_key_or_by_value() {
        let jobs = jobs("one\ntwo\n", None).unwrap();
        assert_eq!(jobs.list()[1].key, "2");
        assert_eq!(jobs.id_of_record(Some(b"2"), Some(b"TWO")), Some("2"));
        assert_eq!(jobs.id_of_record(None, Some(b"one")), Some("1"));
        assert_eq!(jobs.id_of_record(None, Some(b"three")), None);
    }

    #[test]
    fn an_id_is_a_word_of_its_own() {
        let jobs = jobs("{\"id\":\"7\"} {\"id\":\"a-7\"}", Some("/id")).unwrap();
        assert_eq!(jobs.id_in_text("job a-7 is done"), Some("a-7"));
        assert_eq!(jobs.id_in_text("job 7 is done"), Some("7"));
        assert_eq!(jobs.id_in_text("77, a7"), None);
    }

    #[test]
    fn a_mistake_is_told_with_what_was_found() {
        let large = format!("{{\"id\":1}}\n\n{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
        for (text, id, message) in [
            ("\n", None, "found no job"),
            (
                "{\"id\":1}\n{\"id\":",
                Some("id"),
                "line 2, column 6: found the end, expected the rest",
            ),
            (
                "{\"id\":1}\n\n {\"ü\":no}",
                None,
                "line 3, column 8: found `o`, expected true, false or",
            ),
            ("{\"id\" 1}", None, "line 1, column 7: found `1`, expected `:` after the name"),
            ("{\"id\":1 \"a\":1}", None, "line 1, column 9: found `\"`, expected `,` or `}`"),
            ("{\"id\":1,}", None, "line 1, column 9: found `}`, expected the name of a field"),
            ("{id:1}", None, "line 1, column 2: found `i`, expected the name of a field"),
            (
                "{\"id\":\"a\n\"}",
                None,
                "line 1, column 8: found a control character, expected an escape",
            ),
            ("{\"id\":1}\nwords", None, "line 2, column 1: found `w`, expected a JSON value"),
            (
                "{\"id\":1}\n{\"ID\":2}",
                Some("id"),
                "line 2: found nothing at id, expected a string",
            ),
            ("{\"id\":[]}", Some("/id"), "line 1: found [] at /id, expected a string or a number"),
            ("\nwords", Some("id"), "line 2, column 1: found `w`, expected a JSON value"),
            (&large, Some("id"), "line 3: found a job whose record has 20972"),
        ] {
            let mistake = jobs(text, id).expect_err(text).to_string();
            assert!(mistake.starts_with(message), "{mistake}");
        }
    }
}
