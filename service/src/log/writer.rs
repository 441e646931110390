//! What writes log lines: a queue with a limit, and a thread that empties it.
//!
//! ```text
//!  event ─▶ line ─▶ queue ─▶ thread ─▶ standard output
//!                     └─ full: the line is dropped; their number is logged once there is room
//! ```
//!
//! A task that logs never waits for the reader of the log: an output that is not read costs lines,
//! and no jobs.
//!
//! A stalled log collector must not stall a partition, and a line is worth less than a job: so
//! lines are dropped, and counted where they are missing. `tracing-appender` was tried, and keeps
//! neither half of that: its queue is bounded in lines and not in bytes, and the log does not say
//! how many lines were dropped.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written, in bytes; as much again may be under way to the output.
const QUEUE_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// How long lines are gathered after a write, unless half of the limit is reached: a thread that is
/// woken for every line costs more than the line.
const GATHER_LIMIT: Duration = Duration::from_millis(10);
/// How long the end of a log waits for an output that takes nothing.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Takes log lines and never waits.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
}

/// A log that has been started. Dropped, it waits until its lines are written, at most
/// `FLUSH_LIMIT` long; lines that come later are lost.
#[derive(Debug)]
#[must_use = "dropped, it ends the log"]
pub struct Log {
    queue: Arc<Queue>,
    flush_limit: Duration,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.close(self.flush_limit);
    }
}

/// Starts the thread that writes to `output`. `notice` makes the line that says how many lines were
/// dropped.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start_log(
    output: impl Write + Send + 'static,
    notice: impl Fn(u64) -> String + Send + 'static,
) -> io::Result<(Writer, Log)> {
    start_with(output, notice, QUEUE_LIMIT_BYTES, FLUSH_LIMIT)
}

fn start_with(
    output: impl Write + Send + 'static,
    notice: impl Fn(u64) -> String + Send + 'static,
    limit_bytes: usize,
    flush_limit: Duration,
) -> io::Result<(Writer, Log)> {
    let (waiting, filled, ended) = (Mutex::default(), Condvar::new(), Condvar::new());
    let queue = Arc::new(Queue { waiting, filled, ended, limit_bytes });
    let emptied = queue.clone();
    let empty = move || emptied.empty_into(output, notice);
    // Its end is awaited by the log's; it can't be joined while the output takes nothing.
    thread::Builder::new().name("log".to_owned()).spawn(empty)?;
    Ok((Writer { queue: queue.clone() }, Log { queue, flush_limit }))
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Writer {
    /// Takes a line, with its line feed.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to write, or there will be nothing more.
    filled: Condvar,
    /// The thread has written everything.
    ended: Condvar,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that did not fit, after these.
    dropped: u64,
    /// The thread waits, and is to be woken at this many bytes.
    wake_at_bytes: Option<usize>,
    is_closed: bool,
    has_ended: bool,
}

impl Waiting {
    const fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        // After a line that was dropped none fits: their number comes where they are missing.
        let fits = waiting.dropped == 0 && waiting.lines.len() + line.len() <= self.limit_bytes;
        match fits {
            true => waiting.lines.extend_from_slice(line),
            false => waiting.dropped += 1,
        }
        let is_awaited = |at| waiting.lines.len() >= at || waiting.dropped > 0;
        let wake = waiting.wake_at_bytes.is_some_and(is_awaited);
        if wake {
            waiting.wake_at_bytes = None;
            drop(waiting);
            self.filled.notify_one();
        }
    }

    /// Nothing comes any more: completes when all is written, or after `limit`.
    fn close(&self, limit: Duration) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        self.filled.notify_one();
        // If the limit passes first, there is no log left that could say so.
        drop(self.ended.wait_timeout_while(waiting, limit, |waiting| !waiting.has_ended));
    }

    /// Writes what comes until the queue is closed.
    fn empty_into(&self, mut output: impl Write, notice: impl Fn(u64) -> String) {
        let mut lines = Vec::new();
        let mut lost = 0;
        while let Some(dropped) = self.take(&mut lines) {
            lost += write(&mut output, &lines) + dropped;
            if lost > 0 && write(&mut output, notice(lost).as_bytes()) == 0 {
                lost = 0;
            }
            self.gather();
        }
        self.waiting().has_ended = true;
        self.ended.notify_all();
    }

    /// Waits until there is much to write, or for a while.
    fn gather(&self) {
        let mut waiting = self.waiting();
        let half = self.limit_bytes / 2;
        waiting.wake_at_bytes = Some(half);
        let is_little = |waiting: &mut Waiting| {
            waiting.lines.len() < half && waiting.dropped == 0 && !waiting.is_closed
        };
        // What there is, is taken next.
        drop(self.filled.wait_timeout_while(waiting, GATHER_LIMIT, is_little));
    }

    /// Waits for lines, puts them in the place of `lines`, and returns how many were dropped after
    /// them; nothing once the queue is closed and empty.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        lines.clear();
        let mut waiting = self.waiting();
        waiting.wake_at_bytes = Some(0);
        let is_idle = |waiting: &mut Waiting| waiting.is_empty() && !waiting.is_closed;
        let waiting = self.filled.wait_while(waiting, is_idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.wake_at_bytes = None;
        if waiting.is_empty() {
            return None;
        }
        mem::swap(lines, &mut waiting.lines);
        Some(mem::take(&mut waiting.dropped))
    }
}

/// Writes lines, and returns how many the output did not take.
fn write(output: &mut impl Write, lines: &[u8]) -> u64 {
    let mut rest = lines;
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(taken) if taken > 0 => rest = &rest[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    rest.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// More than a pipe and the queue of a test take.
    const LINES: u64 = 20_000;
    const LINE: &[u8] = b"a line of a log\n";
    const LIMIT_BYTES: usize = 1_000;
    const LONG: Duration = Duration::from_secs(60);

    fn notice(lines: u64) -> String {
        format!("dropped {lines}\n")
    }

    fn on_a_pipe() -> (PipeReader, Writer, Log) {
        let (reader, output) = io::pipe().unwrap();
        let (writer, log) = start_with(output, notice, LIMIT_BYTES, LONG).unwrap();
        (reader, writer, log)
    }

    /// The lines of a log, and the sum of those that it says were dropped.
    fn count(text: &str) -> (u64, u64) {
        let dropped: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("dropped ")).collect();
        let lines = text.lines().count() - dropped.len();
        (lines as u64, dropped.iter().map(|number| number.parse::<u64>().unwrap()).sum())
    }

    #[test]
    fn the_end_of_a_log_waits_until_all_lines_are_written_in_order() {
        let (mut reader, writer, log) = on_a_pipe();
        let numbers: String = (0..50).map(|number| format!("{number}\n")).collect();
        numbers.split_inclusive('\n').for_each(|line| writer.queue.add(line.as_bytes()));
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, numbers);
    }

    #[test]
    fn an_output_that_nobody_reads_stalls_nobody_and_the_lines_it_costs_are_counted() {
        let (mut reader, writer, log) = on_a_pipe();
        (0..LINES).for_each(|_| (&writer).write_all(LINE).unwrap());
        let reading = thread::Builder::new().spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        drop(log);
        let (lines, dropped) = count(&reading.unwrap().join().unwrap());
        assert!(dropped > 0, "a pipe held {LINES} lines");
        assert_eq!(lines + dropped, LINES);
    }

    /// Takes nothing as long as the other end of the channel is there.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(self.0.recv().is_err(), "nothing is sent");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_nothing_does_not_hold_up_the_end_for_longer_than_its_limit() {
        let (stuck, receiver) = channel();
        let limit = Duration::from_millis(10);
        let (writer, log) = start_with(Stuck(receiver), notice, LIMIT_BYTES, limit).unwrap();
        writer.queue.add(LINE);
        drop(log);
        assert!(!writer.queue.waiting().has_ended);
        drop(stuck);
    }

    /// Takes nothing `refusals` times, then everything.
    struct Refusing {
        refusals: usize,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Refusing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refusals > 0 {
                self.refusals -= 1;
                return Err(ErrorKind::StorageFull.into());
            }
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_the_output_refuses_are_counted_once_it_takes_lines_again() {
        for (refusals, expected) in [(0, "a\nb\n"), (1, "dropped 2\n"), (2, "")] {
            let taken = Arc::new(Mutex::new(Vec::new()));
            let queue = Queue {
                waiting: Mutex::new(Waiting { lines: b"a\nb\n".to_vec(), ..Waiting::default() }),
                filled: Condvar::new(),
                ended: Condvar::new(),
                limit_bytes: LIMIT_BYTES,
            };
            queue.close(Duration::ZERO);
            queue.empty_into(Refusing { refusals, taken: taken.clone() }, notice);
            assert_eq!(String::from_utf8_lossy(&taken.lock().unwrap()), expected);
        }
    }

    #[test]
    fn a_line_above_the_limit_is_dropped() {
        let (mut reader, writer, log) = on_a_pipe();
        let long = [&[b'x'; LIMIT_BYTES][..], b"\n"].concat();
        writer.queue.add(&long);
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "dropped 1\n");
    }
}
