//! What a contender did.

use serde::{Deserialize, Serialize};

/// The figures of one run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) records: usize,
    pub(crate) seconds: f64,
    /// CPU time of the contender's process alone.
    pub(crate) cpu_seconds: f64,
    /// The peak of its memory (`VmHWM`).
    pub(crate) peak_kib: usize,
}

impl Figure {
    pub(crate) fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.records as f64
    }
}

/// The medians of two contenders that ran in turns, and of the ratios of their pairs.
pub(crate) struct Comparison {
    pub(crate) ours: [f64; 2],
    pub(crate) rival: [f64; 2],
    /// Ours by the rival's: records a second.
    pub(crate) speed: f64,
    /// Ours by the rival's: CPU time a record.
    pub(crate) cpu: f64,
    pub(crate) peak_kib: usize,
}

impl Comparison {
    pub(crate) fn of(pairs: &[(Figure, Figure)]) -> Self {
        let over = |value: &dyn Fn(&(Figure, Figure)) -> f64| median(pairs.iter().map(value));
        Self {
            ours: [over(&|(ours, _)| ours.per_second()), over(&|(ours, _)| ours.cpu_micros())],
            rival: [over(&|(_, rival)| rival.per_second()), over(&|(_, rival)| rival.cpu_micros())],
            speed: over(&|(ours, rival)| ours.per_second() / rival.per_second()),
            cpu: over(&|(ours, rival)| ours.cpu_micros() / rival.cpu_micros()),
            peak_kib: pairs.iter().map(|(ours, _)| ours.peak_kib).max().unwrap_or_default(),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
