//! A model of the limits beside the core: random clients, databases, users, settings and RELOADs,
//! and servers that let the pooler in at once, later, or not at all; everything follows from one
//! seed.
//!
//! After every step the model counts what is there by itself and compares that with the limits as
//! it has written them ([`rules`]): nothing is above a limit, except where a RELOAD has lowered
//! one, and then it does not grow; and no client waits that the limits would let run ([`verify`]).
//! In the end all hosts are well, and every client is served. A failure names its seed;
//! `LIMITS_SEED=n cargo test limits_model` runs that one and prints what happened.
//!
//! What a core that is moved by hand can show stands beside it ([`cost`], [`looks`],
//! [`stretches`], [`struck`], [`successor`], [`users`], [`writes`]).

mod by_hand;
mod cost;
mod looks;
mod peers;
mod rules;
mod stretches;
mod struck;
mod successor;
mod users;
mod verify;
mod world;
mod writes;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Figures, World};

/// Seeds of a normal test run.
const SEEDS: Range<u64> = 0..250;

/// Steps of one seed before everything calms down.
const STEPS: u32 = 400;

fn run(world: &mut World) -> Result<(), String> {
    for _ in 0..STEPS {
        world.step()?;
    }
    world.calm_down()
}

fn try_seed(seed: u64) -> Result<Figures, (String, Vec<String>)> {
    let mut world = World::new(seed);
    let error = match catch_unwind(AssertUnwindSafe(|| run(&mut world))) {
        Ok(Ok(())) => return Ok(world.figures),
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        }
    };
    Err((error, world.trace))
}

fn must_pass(seed: u64) -> Figures {
    try_seed(seed).unwrap_or_else(|(error, trace)| {
        let from = trace.len().saturating_sub(60);
        panic!(
            "{}\nseed {seed}: {error}\nLIMITS_SEED={seed} cargo test limits_model replays it",
            trace[from..].join("\n")
        )
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn limits_model_agrees_after_every_step() {
    if let Some(seed) = number("LIMITS_SEED") {
        println!("{:?}", must_pass(seed));
        return;
    }
    let seeds =
        number("LIMITS_FROM").unwrap_or(SEEDS.start)..number("LIMITS_TO").unwrap_or(SEEDS.end);
    let mut sum = Figures::default();
    for seed in seeds {
        sum.add(&must_pass(seed));
    }
    println!("{sum:?}");
    // A model that brings nothing about would prove nothing.
    for (what, count) in sum.named() {
        assert!(count > 0, "no seed brings about {what}");
    }
}
