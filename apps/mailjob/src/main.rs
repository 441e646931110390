//! The command line of the mail executor.
//!
//! The topology is one task, and the thread that runs it also drives its sockets, so that no mail
//! costs a wake-up of another thread. Calls to Kafka, the look-up of host names and the log have
//! threads of their own.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Records are made on one thread and dropped on another, here and in librdkafka: the allocator of
/// the C library spends more time on that than any other part of a job takes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    mailjob::service::main()
}
