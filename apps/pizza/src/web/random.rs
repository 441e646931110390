//! The generator of ids and tokens.

use std::fmt;
use std::sync::Arc;

/// Fills bytes at random; it comes from outside, so that a test can draw what it wants.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// A generator of one's own. Tokens are as hard to guess as its bytes.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The system's generator.
    ///
    /// # Panics
    /// It panics when drawn from if the system has none.
    pub fn of_system() -> Self {
        Self::new(|bytes| getrandom::fill(bytes).expect("the system has a generator"))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Random").finish()
    }
}
