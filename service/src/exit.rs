//! How a command ends.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::one_line;

/// Wrong usage, a wrong setting or an unreadable file.
pub const EXIT_USAGE: u8 = 2;
/// Anything else that went wrong.
pub const EXIT_FAILURE: u8 = 1;
/// A second signal.
pub const EXIT_ABORTED: u8 = 130;

/// Says on standard error, in one line that begins with the command's name, what went wrong.
pub fn fail(command: &str, code: u8, error: &dyn Error) -> ExitCode {
    // Where standard error can't be written either, the exit code is all there is to say.
    let error = one_line(&error.to_string());
    drop(writeln!(anstream::stderr(), "{command}: {error}"));
    ExitCode::from(code)
}
