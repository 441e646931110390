//! A schedule of faults.

use std::fmt;

use super::fault::Planned;

/// The faults of one run, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Planned>,
}

impl Schedule {
    /// A schedule of these faults.
    pub fn new(faults: impl IntoIterator<Item = Planned>) -> Self {
        Self { faults: faults.into_iter().collect() }
    }
}

/// Rust code for the schedule.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule::new([\n")?;
        self.faults.iter().try_for_each(|planned| writeln!(f, "    {planned},"))?;
        f.write_str("])")
    }
}
