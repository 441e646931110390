//! The engine by itself, without a driver: whatever happens, in whatever order, its commands keep
//! what the run promises.

use proptest::prelude::*;
use tokio::time::Instant;

use self::game::{FinishedRecords, Game, topology};
use self::script::Dice;

mod game;
mod script;

/// Plays as many steps as there are draws; returns the number of inputs.
fn play(
    draws: impl IntoIterator<Item = u64>,
    is_stateful: bool,
    commits_with_batches: bool,
) -> u64 {
    let finished = FinishedRecords::default();
    let topology = topology(is_stateful, &finished);
    let mut game = Game::new(&topology, finished, commits_with_batches);
    let mut last = Dice(0);
    for draw in draws {
        last = Dice(draw);
        game.step(&mut last);
    }
    game.come_to_the_end(&mut last);
    game.inputs
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_commands_keep_what_a_run_promises(
        draws in prop::collection::vec(any::<u64>(), 0..400),
        is_stateful: bool,
        commits_with_batches: bool,
    ) {
        play(draws, is_stateful, commits_with_batches);
    }
}

#[test]
fn so_it_is_in_long_runs_from_seeds() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 400 };
    let started = Instant::now();
    let inputs: u64 = (0..seeds)
        .map(|seed| {
            let mut dice = Dice(seed);
            let draws = (0..5_000).map(|_| dice.next());
            play(draws, seed % 2 == 0, seed % 4 < 2)
        })
        .sum();
    let rate = inputs as f64 / started.elapsed().as_secs_f64();
    println!("{inputs} inputs, {rate:.0} a second");
}
