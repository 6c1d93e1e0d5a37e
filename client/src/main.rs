//! The `flott` command.
fn main() {}
