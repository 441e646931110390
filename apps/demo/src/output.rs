//! What a demo leaves in files: records as JSON lines, mails as .eml.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use jobstream::record::ConsumerRecord;
use jobstream_service::json_lines::JsonLine;
use jobstream_testkit::smtp::Mail;

/// A file of records, one JSON object a line.
pub(crate) struct JsonLines<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> JsonLines<'a> {
    /// Makes the file, or empties it; the error names it.
    pub(crate) fn create(path: &'a Path) -> io::Result<Self> {
        let file = File::create(path).map_err(|error| cannot("write", path, &error))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    /// Writes the records; the error names the file.
    pub(crate) fn write(mut self, records: &[ConsumerRecord]) -> io::Result<()> {
        let written = records.iter().try_for_each(|record| self.line(record));
        written.and_then(|()| self.file.flush()).map_err(|error| cannot("write", self.path, &error))
    }

    fn line(&mut self, record: &ConsumerRecord) -> io::Result<()> {
        JsonLine::from(record).write(&mut self.file)
    }
}

/// Makes the folder if it is missing, and removes the .eml files that are in it.
pub(crate) fn empty_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| cannot("make the folder", folder, &error))?;
    for entry in fs::read_dir(folder).map_err(|error| cannot("read", folder, &error))? {
        let path = entry.map_err(|error| cannot("read", folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "eml") && !path.is_dir() {
            fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
        }
    }
    Ok(())
}

/// Writes mails as they were received. A file is named after its `Message-ID`; further mails with
/// the same one get a number.
pub(crate) fn write_mails(folder: &Path, mails: &[Arc<Mail>]) -> io::Result<()> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for mail in mails {
        let id = mail.message_id().unwrap_or("no-message-id");
        let stem: String =
            id.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let count = seen.entry(stem.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { format!("{stem}.eml") } else { format!("{stem}-{count}.eml") };
        let path = folder.join(name);
        fs::write(&path, &mail.raw).map_err(|error| cannot("write", &path, &error))?;
    }
    Ok(())
}

/// Whether both are the same file; what is no file, as `/dev/null`, may be named twice.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other && one.is_file(),
        _ => one == other,
    }
}

/// An error that says what could not be done with which file, and why.
pub(crate) fn cannot(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    let name = match path.to_str() {
        Some("-") if verb == "read" => "standard input".into(),
        _ => format!("'{}'", path.display()),
    };
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    io::Error::new(error.kind(), format!("cannot {verb} {name}: {why}"))
}
