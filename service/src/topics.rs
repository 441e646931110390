//! The topics of a service.

use jobstream::record::Topic;

/// The topics of a service that executes jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Jobs come from here.
    pub jobs: Topic,
    /// Results go here.
    pub results: Topic,
    /// What is no job goes here.
    pub dead_letters: Topic,
}

impl Topics {
    /// Jobs come from this topic; results go to the one that ends with `-result` besides, and dead
    /// letters to the one with `-dead-letter`.
    pub fn jobs(jobs: impl Into<Topic>) -> Self {
        let jobs = jobs.into();
        Self {
            results: format!("{jobs}-result").into(),
            dead_letters: format!("{jobs}-dead-letter").into(),
            jobs,
        }
    }

    /// Results go to this topic.
    #[must_use]
    pub fn results(self, results: impl Into<Topic>) -> Self {
        Self { results: results.into(), ..self }
    }

    /// Dead letters go to this topic.
    #[must_use]
    pub fn dead_letters(self, dead_letters: impl Into<Topic>) -> Self {
        Self { dead_letters: dead_letters.into(), ..self }
    }
}

impl Default for Topics {
    /// The job topics: `topic-job-run`, `topic-job-run-result` and `topic-job-run-dead-letter`.
    fn default() -> Self {
        Self::jobs("topic-job-run")
    }
}
