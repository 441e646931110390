//! What names a process among live ones.

use super::{SettingsError, Variables};

const LIMIT_CHARS: usize = 200;

/// `INSTANCE_ID`: names this process among live ones, and stays the same across its restarts.
///
/// # Errors
/// If it can't be part of a member's name.
pub(super) fn instance_id(variables: &Variables<'_>) -> Result<Option<String>, SettingsError> {
    let Some(id) = variables.text("INSTANCE_ID") else { return Ok(None) };
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if id.len() > LIMIT_CHARS || !id.chars().all(is_legal) {
        let expected = "up to 200 of A-Z, a-z, 0-9, '.', '_' and '-'";
        return Err(SettingsError::invalid("INSTANCE_ID", &id, expected));
    }
    Ok(Some(id))
}
