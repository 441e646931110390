//! What a check prints: a line for each thing that it has looked at.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// What was found: well, or wrong.
pub(crate) type Checked = Result<String, String>;

/// What is printed, a line for each thing, and why one could not be.
#[derive(Debug, Default)]
pub(crate) struct Report(Mutex<Option<io::Error>>);

impl Report {
    /// Prints what was found; 1 if that is a failure.
    pub(crate) fn tell(&self, checked: Checked) -> usize {
        match checked {
            Ok(found) => {
                self.say("ok", &found);
                0
            }
            Err(found) => {
                self.say("failed", &found);
                1
            }
        }
    }

    pub(crate) fn say(&self, word: &str, text: &str) {
        if let Err(error) = writeln!(anstream::stdout(), "{word:<8}{text}") {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    pub(crate) fn end(self) -> io::Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// What is found of a topic: its partitions, if it is there.
pub(crate) fn topic(name: &str, partitions: Option<usize>, create: bool) -> Checked {
    match (partitions, create) {
        (Some(1), _) => Ok(format!("topic '{name}': 1 partition")),
        (Some(partitions), _) => Ok(format!("topic '{name}': {partitions} partitions")),
        (None, true) => Ok(format!("topic '{name}': missing, created by 'run'")),
        (None, false) => Err(format!("topic '{name}': missing")),
    }
}
