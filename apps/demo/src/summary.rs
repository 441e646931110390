//! What a demo says in words below its table.

use indicatif::HumanCount;

/// What happened on the way: mails in the inbox, copies among them, attempts made again.
pub(crate) fn on_the_way(mails: u64, copies: u64, retries: u64) -> String {
    let mut text = match mails {
        0 => "No mail is in the inbox".into(),
        1 => "1 mail is in the inbox".into(),
        _ => format!("{} mails are in the inbox", HumanCount(mails)),
    };
    match copies {
        0 => {}
        1 => text.push_str(", 1 of them a second copy of another"),
        _ => text.push_str(&format!(", {} of them copies of others", HumanCount(copies))),
    }
    match retries {
        0 => {}
        1 => text.push_str("; 1 attempt was made again"),
        _ => text.push_str(&format!("; {} attempts were made again", HumanCount(retries))),
    }
    text.push('.');
    text
}

/// How fast it was.
pub(crate) fn throughput(jobs: u64, seconds: f64, connections: usize) -> String {
    let noun = if jobs == 1 { "job" } else { "jobs" };
    let rate = HumanCount((jobs as f64 / seconds.max(f64::EPSILON)) as u64);
    format!(
        "{} {noun} in {seconds:.2} s: {rate} jobs/s over {connections} connections",
        HumanCount(jobs)
    )
}

#[cfg(test)]
mod tests {
    use super::{on_the_way, throughput};

    #[test]
    fn one_and_none_and_many_are_told_apart() {
        assert_eq!(on_the_way(0, 0, 0), "No mail is in the inbox.");
        assert_eq!(on_the_way(1, 0, 1), "1 mail is in the inbox; 1 attempt was made again.");
        assert_eq!(
            on_the_way(1_002, 1, 0),
            "1,002 mails are in the inbox, 1 of them a second copy of another."
        );
        assert_eq!(
            on_the_way(9, 2, 6),
            "9 mails are in the inbox, 2 of them copies of others; 6 attempts were made again."
        );
    }

    #[test]
    fn a_run_that_took_no_time_has_a_throughput_too() {
        assert_eq!(throughput(0, 0.0, 8), "0 jobs in 0.00 s: 0 jobs/s over 8 connections");
        assert_eq!(
            throughput(3_000, 1.5, 8),
            "3,000 jobs in 1.50 s: 2,000 jobs/s over 8 connections"
        );
    }
}
