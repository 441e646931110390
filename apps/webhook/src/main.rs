//! The command line of the webhook executor.

use std::process::ExitCode;

fn main() -> ExitCode {
    webhook::service::main()
}
