//! Facts of the build, for `--version` of each service. No time is among them, so that a build can be
//! repeated.

use std::env;
use std::process::Command;

fn main() {
    let commit = env::var("MAILJOB_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = commit.or_else(|| said(Command::new("git").args(["rev-parse", "HEAD"])));
    let rustc = env::var_os("RUSTC").and_then(|rustc| said(Command::new(rustc).arg("--version")));
    for (name, value) in [
        ("COMMIT", commit),
        ("RUSTC", rustc),
        ("TARGET", env::var("TARGET").ok()),
        ("PROFILE", env::var("PROFILE").ok()),
    ] {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        println!("cargo::rustc-env=BUILD_{name}={value}");
    }
    println!("cargo::rerun-if-env-changed=MAILJOB_COMMIT");
    // A commit appends to this file, wherever the work tree has it.
    let log = said(Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]));
    if let Some(log) = log.filter(|log| std::path::Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// The line that a command says, if it ends well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
