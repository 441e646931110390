//! What the kernel reports about this process, in the names of Prometheus's own clients.

use std::fmt;
use std::fs;
use std::io;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The kernel's unit of CPU time in `/proc`, whatever its own clock: its USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc` with each scrape; what can't be read, as where there is none, is left out.
#[derive(Debug)]
pub(super) struct Proc;

impl Collector for Proc {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Ok(stat) = read("/proc/self/stat", stat) {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            tell(encoder, "process_cpu_seconds", "CPU time, of all threads.", &cpu)?;
            let threads = ConstGauge::new(stat.threads);
            tell(encoder, "process_threads", "Threads.", &threads)?;
        }
        if let Ok(bytes) = read("/proc/self/status", resident_bytes) {
            let bytes = ConstGauge::new(bytes);
            tell(encoder, "process_resident_memory_bytes", "Memory that is resident.", &bytes)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them reads the folder.
            let count = ConstGauge::new(files.count().saturating_sub(1) as u64);
            tell(encoder, "process_open_fds", "File descriptors that are open.", &count)?;
        }
        Ok(())
    }
}

fn tell(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// What is found in a file of the kernel's.
fn read<T>(path: &str, find: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
    find(&fs::read_to_string(path)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
}

/// The fields 14, 15 and 20 of `/proc/PID/stat` (proc_pid_stat(5)); the second is a name in
/// parentheses, which may hold anything.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index - 3)?.parse::<u64>().ok();
    let cpu_seconds = (number(14)? + number(15)?) as f64 / TICKS_PER_SECOND;
    Some(Stat { cpu_seconds, threads: number(20)? })
}

/// `VmRSS` of `/proc/PID/status`.
fn resident_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_that_looks_like_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 6 0 1000 1 2 3";
        assert_eq!(stat(text), Some(Stat { cpu_seconds: 2.0, threads: 6 }));
        assert_eq!(stat("7 (service) S 1"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\n"), None);
    }
}
