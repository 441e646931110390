//! What a listener may take.

use std::fs;
use std::time::Duration;

/// File descriptors that a process has where the kernel does not say: the usual limit.
const USUAL_DESCRIPTORS: usize = 1024;

/// How long a connection may stand still.
const STANDSTILL: Duration = Duration::from_secs(30);

/// What a listener may take: see [`serve`](fn@super::serve).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, at most.
    pub connections: usize,
    /// Of these, the ones of one client.
    pub connections_of_client: usize,
    /// How long a connection may wait for the whole head of a request, from its begin or from the
    /// answer before it; and how long for a client that reads nothing of an answer.
    pub standstill: Duration,
}

impl Limits {
    /// For a listener beside the work: at most 128 connections, and an eighth of the process's file
    /// descriptors, half of them of one client.
    pub fn beside_the_work() -> Self {
        let connections = (descriptors() / 8).clamp(8, 128);
        Self { connections, connections_of_client: connections / 2, standstill: STANDSTILL }
    }

    /// For a listener that is the work: at most 2,048 connections, and half of the process's file
    /// descriptors, a quarter of them of one client.
    pub fn for_the_work() -> Self {
        let connections = (descriptors() / 2).clamp(8, 2_048);
        Self { connections, connections_of_client: connections / 4, standstill: STANDSTILL }
    }

    /// The same limits where every client comes by one proxy, which has limits of its own for them.
    #[must_use]
    pub const fn behind_a_proxy(self) -> Self {
        Self { connections_of_client: self.connections, ..self }
    }

    /// Streams of events at once, at most: a quarter of the connections stays for requests.
    pub const fn streams(&self) -> usize {
        self.connections - self.connections / 4
    }
}

/// File descriptors that this process may have.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits");
    limits.ok().and_then(|limits| soft_limit(&limits)).unwrap_or(USUAL_DESCRIPTORS)
}

/// The soft limit of open files in `/proc/PID/limits` (proc_pid_limits(5)).
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_open_files_is_found() {
        let limits = "Limit          Soft Limit  Hard Limit  Units\n\
                      Max processes  100         100         processes\n\
                      Max open files 256         524288      files\n";
        assert_eq!(soft_limit(limits), Some(256));
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), Some(usize::MAX));
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn descriptors_are_left_for_the_work_and_connections_for_requests() {
        let (beside, work) = (Limits::beside_the_work(), Limits::for_the_work());
        assert!(beside.connections <= descriptors() / 8, "{beside:?}");
        assert!(work.connections <= descriptors() / 2, "{work:?}");
        for limits in [beside, work] {
            assert!(limits.connections_of_client < limits.connections, "{limits:?}");
            assert!(limits.streams() < limits.connections, "{limits:?}");
        }
    }
}
