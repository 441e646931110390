//! Identifiers that no other process has.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number, from the system.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
