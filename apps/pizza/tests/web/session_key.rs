//! The file of the key that signs sessions.

use pizza::web::{Random, SessionKey, SessionKeyError};

#[test]
fn a_key_file_that_is_missing_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session-key");
    SessionKey::from_file(&path, &Random::of_system()).unwrap();
    let made = std::fs::read(&path).unwrap();
    assert_eq!(made.len(), 64);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    SessionKey::from_file(&path, &Random::of_system()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), made, "it is kept");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_key_that_is_too_short_or_can_t_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session-key");
    std::fs::write(&path, [1; 63]).unwrap();
    let short = SessionKey::from_file(&path, &Random::of_system());
    assert!(matches!(short, Err(SessionKeyError::Short(63))), "{short:?}");
    let nowhere = SessionKey::from_file(&path.join("x"), &Random::of_system());
    assert!(matches!(nowhere, Err(SessionKeyError::File { .. })), "{nowhere:?}");
}
