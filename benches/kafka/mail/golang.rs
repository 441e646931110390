//! The strongest peer known: franz-go and go-mail, in Go, where that is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::CONNECTIONS;
use crate::process::{Role, Running};

/// The program's folder.
const FOLDER: &str = "benches/kafka/mail/go";

/// Builds it into a folder, and says where it is; nothing where there is no Go.
pub(crate) fn build(into: &Path) -> Option<PathBuf> {
    let version = Command::new("go").arg("version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|ended| ended.success()) {
        println!("No Go: franz-go with go-mail is left out");
        return None;
    }
    std::fs::create_dir_all(into).expect("a folder");
    let program = into.join("executor");
    let built = Command::new("go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER))
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .status();
    if !built.is_ok_and(|ended| ended.success()) {
        println!("franz-go with go-mail could not be built, and is left out");
        return None;
    }
    Some(program)
}

pub(crate) fn start(program: &Path, role: &Role) -> Running {
    Running::start(
        Command::new(program)
            .args([&role.bootstrap, &role.input, &role.output])
            .args([role.mail_port.to_string(), CONNECTIONS.to_string()]),
    )
}
