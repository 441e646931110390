//! How outputs are delivered.

/// How outputs are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Outputs first, then the positions: enough where a repetition changes nothing.
    AtLeastOnce,
    /// Outputs and positions in one transaction.
    ExactlyOnce,
}
