//! The key that signs sessions.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use axum_extra::extract::cookie::Key;

use super::random::Random;

/// The fewest bytes that make a key.
const MIN_BYTES: usize = 64;

/// The key that signs sessions. Web apps that share it share their sessions, and a session outlasts
/// the process if its key does.
#[derive(Clone, Debug)]
pub struct SessionKey(pub(super) Key);

/// A key that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionKeyError {
    /// Too few bytes.
    #[error("the session key: found {0} bytes, expected at least 64")]
    Short(usize),
    /// The file can't be read, or not be made.
    #[error("the session key's file {path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl SessionKey {
    /// A new key.
    pub fn generate(random: &Random) -> Self {
        Self(Key::from(&random.bytes::<64>()))
    }

    /// The key that these bytes determine.
    ///
    /// # Errors
    /// If there are fewer than 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SessionKeyError> {
        if bytes.len() < MIN_BYTES {
            return Err(SessionKeyError::Short(bytes.len()));
        }
        Ok(Self(Key::from(bytes)))
    }

    /// The key that a file's bytes determine; a file that is missing is made, with a new key that
    /// only its owner can read.
    ///
    /// # Errors
    /// If the file can't be read or made, or is too short.
    pub fn from_file(path: &Path, random: &Random) -> Result<Self, SessionKeyError> {
        let failed = |error| SessionKeyError::File { path: path.to_owned(), error };
        match create(path, &random.bytes::<64>()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Self::from_bytes(&fs::read(path).map_err(failed)?),
        }
    }
}

/// Makes a file that nobody sees before it is whole.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut whole = path.as_os_str().to_owned();
    whole.push(format!(".{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&whole)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&whole, path);
    fs::remove_file(&whole)?;
    linked
}
