//! What the settings of every service are, in Markdown.

use super::Settings;
use crate::defaults::Defaults;

/// The settings that every service has. `NAME` stands for the service's own.
const OF_EVERY_SERVICE: &str = include_str!("tables.md");

/// The tables of all settings of a service, its own first.
pub(crate) fn tables<S: Settings>(defaults: &Defaults) -> String {
    let Defaults { name, topics, metrics_port, .. } = defaults;
    let literal = |text: &str| format!("`{text}`");
    let replaced = [
        (literal("topic-job-run-consumer-NAME"), literal(&defaults.group())),
        (literal("topic-job-run-ledger-NAME"), literal(&defaults.ledger())),
        (literal("topic-job-run-result"), literal(&topics.results)),
        (literal("topic-job-run-dead-letter"), literal(&topics.dead_letters)),
        (literal("topic-job-run"), literal(&topics.jobs)),
        (literal("NAME"), literal(name)),
        ("METRICS_PORT".to_owned(), (*metrics_port).to_owned()),
    ];
    let common = replaced.iter().fold(OF_EVERY_SERVICE.to_owned(), |text, (placeholder, own)| {
        text.replace(placeholder, own)
    });
    match S::TABLES.trim() {
        "" => common,
        own => format!("{own}\n\n{common}"),
    }
}

/// The rows of the tables, cell by cell: the setting, its default, and what it is.
pub(crate) fn rows(tables: &str) -> impl Iterator<Item = [&str; 3]> {
    tables.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        match cells[..] {
            [name, default, _, _, what, _] if name.starts_with('`') => Some([name, default, what]),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_the_services_own_and_no_placeholder_is_left() {
        let text = tables::<()>(&Defaults::new("webhook"));
        assert!(!text.contains("`NAME`") && !text.contains("-NAME`"), "{text}");
        let default = |setting: &str| {
            let found = rows(&text).find(|[name, ..]| *name == setting);
            found.unwrap_or_else(|| panic!("no row of {setting}"))[1]
        };
        assert_eq!(default("`TOPIC_JOB_RUN`"), "`topic-job-run`");
        assert_eq!(
            default("`TOPIC_JOB_RUN_CONSUMER_GROUP_ID`"),
            "`topic-job-run-consumer-webhook`"
        );
        assert_eq!(default("`TOPIC_JOB_RUN_LEDGER`"), "`topic-job-run-ledger-webhook`");
        assert_eq!(default("`OTEL_SERVICE_NAME`"), "`webhook`");
    }
}
