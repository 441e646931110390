//! What the program says about itself: completions for shells, man pages, its settings.

use std::fs;
use std::io::{self, Write};

use clap::Command as Program;

use crate::cli::{CompletionsArgs, ManArgs, SettingsArgs};
use crate::operations::{OperationError, Table, shown};
use crate::settings::rows;

/// Writes a completion script to standard output.
///
/// # Errors
/// If it can't be written.
pub(crate) fn completions(
    mut program: Program,
    args: &CompletionsArgs,
) -> Result<(), OperationError> {
    let (mut script, name) = (Vec::new(), program.get_name().to_owned());
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    shown(write(&mut io::stdout().lock(), &script).map_err(OperationError::Output))
}

/// Writes a man page of the program and of each of its commands.
///
/// # Errors
/// If they can't be written; the error names the folder.
pub(crate) fn man(program: Program, args: &ManArgs) -> io::Result<()> {
    let written = fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(program, &args.folder));
    written.map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", args.folder.display()))
    })
}

/// Writes what every setting is to standard output.
///
/// # Errors
/// If it can't be written.
pub(crate) fn settings(tables: &str, args: &SettingsArgs) -> Result<(), OperationError> {
    let mut out = anstream::stdout().lock();
    let written = match args.markdown {
        true => write(&mut out, tables.as_bytes()),
        false => list(&mut out, tables),
    };
    shown(written.map_err(OperationError::Output))
}

fn list(out: &mut impl Write, tables: &str) -> io::Result<()> {
    let mut table = Table::new([("SETTING", 48), ("DEFAULT", 24), ("WHAT IT IS", 0)]);
    for cells in rows(tables) {
        let cells = cells.map(|cell| cell.replace('`', ""));
        table.row(out, cells.each_ref().map(String::as_str))?;
    }
    out.flush()
}

fn write(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}
