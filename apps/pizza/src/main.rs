//! The command line of the pizza shop.

fn main() {}
