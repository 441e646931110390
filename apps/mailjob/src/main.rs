//! The mail executor.

fn main() {}
