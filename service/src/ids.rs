//! Identifiers that no other process has.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number, from the system.
pub fn random_id() -> u64 {
    RandomState::new().build_hasher().finish()
}
