//! What the process is given: its environment and its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use jobstream::record::Timestamp;

/// The environment, without what is no UTF-8.
pub fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}

/// The bytes of a file.
///
/// # Errors
/// If it can't be read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// The time, in milliseconds since 1970, as records have it.
pub fn timestamp() -> Timestamp {
    let since_1970 = now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock comes from")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
