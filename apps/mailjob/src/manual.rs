//! What the program says about itself: completions for shells, man pages, facts of its build.

use std::fs;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// What `--version` says: enough to find the source and the toolchain of a binary.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{}\ncommit {}\n{} for {}, profile {}\nlibrdkafka {}",
            env!("CARGO_PKG_VERSION"),
            env!("MAILJOB_COMMIT"),
            env!("MAILJOB_RUSTC"),
            env!("MAILJOB_TARGET"),
            env!("MAILJOB_PROFILE"),
            jobstream::kafka::librdkafka_version(),
        )
    });
    &VERSION
}

/// Writes a completion script to standard output.
///
/// # Errors
/// If it can't be written.
pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mailjob", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()
}

/// Writes a man page of the program and of each of its commands.
///
/// # Errors
/// If they can't be written; the error names the folder.
pub(crate) fn man(args: &ManArgs) -> io::Result<()> {
    let written = fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder));
    written.map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", args.folder.display()))
    })
}
