//! A search on every core.

use std::ops::Range;
use std::thread;

use super::report::{Broken, Report, Stopwatch};

/// Divides seeds among as many threads as the machine has cores. `search` is called once on each
/// thread, with its share of the seeds. The number of threads does not change the result, since a
/// schedule is a function of its seed.
///
/// # Errors
/// The broken schedule that a thread has found; of several, the one with the lowest seed.
pub fn on_every_core(
    seeds: Range<u64>,
    search: impl Fn(Range<u64>) -> Result<Report, Box<Broken>> + Sync,
) -> Result<Report, Box<Broken>> {
    let stopwatch = Stopwatch::start();
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = (seeds.end - seeds.start).div_ceil(cores);
    let shares = (0..cores).map(|core| {
        let start = (seeds.start + core * share).min(seeds.end);
        start..(start + share).min(seeds.end)
    });
    let searched: Vec<_> = thread::scope(|scope| {
        let search = &search;
        let running: Vec<_> = shares.map(|share| scope.spawn(move || search(share))).collect();
        let ended = running.into_iter().map(|running| running.join());
        ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let report: Report = searched.into_iter().sum::<Result<_, _>>()?;
    Ok(Report { took: stopwatch.took(), ..report })
}
