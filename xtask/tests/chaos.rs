//! A few random kills of real runs. `cargo xtask test --long` makes a hundred.

use std::path::Path;

#[test]
fn a_run_that_is_killed_leaves_nothing_and_is_resumed_to_its_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (kills, seed) = (number("CHAOS_KILLS").unwrap_or(5), number("CHAOS_SEED").unwrap_or(1));
    let seed = u64::from(seed);
    let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
    println!("{}", xtask::check::chaos::run_with(program, kills, seed).unwrap());
}
