//! The scripts of the workspace.

use std::path::Path;
use std::process::Command;

/// A script of the workspace, whichever package's test asks for it.
pub(crate) fn script(name: &str) -> Command {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = package.ancestors().map(|folder| folder.join("scripts").join(name));
    Command::new(scripts.into_iter().find(|path| path.exists()).expect("a script of that name"))
}
