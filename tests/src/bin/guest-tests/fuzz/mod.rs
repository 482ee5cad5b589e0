// SPDX-License-Identifier: GPL-2.0

//! Random tables and random I/O on both twins.

use anyhow::{bail, Result};
use dm_rust_tests::case::{case, is_watched, Case, Ctx};
use dm_rust_tests::dm::Line;
use dm_rust_tests::fuzz::{shrink, Plan, Seed, CRYPT, TARGETS};
use dm_rust_tests::module::modprobe;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::twin::Target;
use pool::Pool;
use state::{Seen, State, Twist};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod pool;
mod raw;
mod self_test;
mod state;

/// How many tables are tried unless `ROUNDS` says otherwise.
const ROUNDS: u64 = 500;

/// The same on kernels that watch all that they do, where an ioctl takes ten times as long.
const WATCHED_ROUNDS: u64 = 100;

/// An ioctl takes far less time than a table: so many of them are tried instead of one.
const RAWS_PER_ROUND: u64 = 20;

/// How many tables are tried unless `ROUNDS` says otherwise.
pub fn rounds() -> u64 {
    if is_watched() {
        WATCHED_ROUNDS
    } else {
        ROUNDS
    }
}

/// The seed unless `SEED` says otherwise: always the same, so that a run that
/// failed fails again.
pub const SEED: &str = "1";

/// From a table whose number is a multiple of this on, the mapped devices are
/// new ones: a failure has to be replayed from there on at most.
const RENEWAL: u64 = 256;

/// How many failures end a run: each takes long to be made small.
const FAILURES: usize = 3;

/// How many smaller plans are tried to make a failure small.
const SHRINK_TRIES: usize = 250;

/// The twins are told apart by [`Ctx`]; the name matters only to the messages.
const TWINS: Target = Target {
    name: "linear",
    shapes: &[],
};

pub fn cases(seed: Seed, rounds: u64) -> Vec<Case> {
    vec![
        case("fuzz::finds_what_differs", self_test::run).limit(180),
        case("fuzz::tables", move |ctx| tables(ctx, seed, rounds)).limit(180 + rounds / 10),
        case("fuzz::ioctls_that_differ", raw::finds_what_differs),
        case("fuzz::ioctls", move |ctx| {
            raw::run(ctx, seed, rounds.saturating_mul(RAWS_PER_ROUND))
        })
        .limit(180 + rounds / 5),
    ]
}

/// Random tables of the crypt target, and messages to its devices.
pub fn crypt_cases(seed: Seed, rounds: u64) -> Vec<Case> {
    vec![case("fuzz::crypt", move |ctx| crypt(ctx, seed, rounds)).limit(180 + rounds / 5)]
}

/// Has our target stand where a plan names the in-tree one.
fn rename(ctx: &Ctx) -> Box<Twist> {
    let env = Arc::clone(&ctx.env);
    Box::new(move |line: &mut Line, _: &Pool| {
        // What is no target is as unknown without the prefix.
        if TARGETS.contains(&line.target.as_str()) || line.target == CRYPT {
            line.target = env.target(&line.target);
        }
    })
}

fn tables(ctx: &Ctx, seed: Seed, rounds: u64) -> Result<()> {
    let fuzzer = Fuzzer::new(ctx, rename(ctx))?;
    report(&fuzzer, seed, rounds)
}

fn crypt(ctx: &Ctx, seed: Seed, rounds: u64) -> Result<()> {
    for module in ["dm-crypt", "xts", "essiv", "crypto_null", "gcm"] {
        modprobe(module, &[])?;
    }
    // No program is started to look for each cipher that there is not.
    let _setting = Setting::new("/proc/sys/kernel/modprobe", "\n")?;
    let mut fuzzer = Fuzzer::new(ctx, rename(ctx))?;
    fuzzer.plan = Plan::generate_crypt;
    fuzzer.name = "fuzz::crypt";
    report(&fuzzer, seed, rounds)
}

fn report(fuzzer: &Fuzzer, seed: Seed, rounds: u64) -> Result<()> {
    let run = fuzzer.run(seed, rounds)?;
    println!("\n  {}", run.summary);
    if !run.failures.is_empty() {
        let texts: Vec<_> = run.failures.into_iter().map(|f| f.text).collect();
        bail!("{}\n{}", texts.join("\n"), run.summary);
    }
    fuzzer.whole(seed, rounds)
}

/// What came of a run.
struct Run {
    summary: String,
    failures: Vec<Failure>,
}

/// A table that the twins differ about.
struct Failure {
    /// All that is to be known of it, and how to see it again.
    text: String,
    /// The plan, made as small as can be, if that could be done.
    small: Option<Plan>,
}

/// Two sides, and what makes ours differ from the in-tree one.
struct Fuzzer<'a> {
    ctx: &'a Ctx,
    sides: [RefCell<State>; 2],
    twist: Box<Twist>,
    /// More names that stand for others, on our side only or on both.
    aliases: Vec<(bool, String, String)>,
    /// How many failures end a run.
    enough: usize,
    /// Makes the plans.
    plan: fn(u64, u64) -> Plan,
    /// The test that does it.
    name: &'static str,
    /// What the last plan did on the in-tree side.
    seen: RefCell<Seen>,
    live: Cell<bool>,
    _settings: [Setting; 2],
}

impl<'a> Fuzzer<'a> {
    fn new(ctx: &'a Ctx, twist: Box<Twist>) -> Result<Fuzzer<'a>> {
        modprobe("dm-zero", &[])?;
        for name in ["flakey", "delay", "dust"] {
            ctx.need_twin(name)?;
        }
        let [theirs, ours] = Pool::both()?;
        let fuzzer = Fuzzer {
            ctx,
            sides: [
                RefCell::new(State::new(theirs)?),
                RefCell::new(State::new(ours)?),
            ],
            twist,
            aliases: Vec::new(),
            enough: FAILURES,
            plan: Plan::generate,
            name: "fuzz::tables",
            seen: RefCell::default(),
            live: Cell::new(false),
            _settings: [
                // Refused tables are kept from the console: a serial line is slow,
                // and thousands are refused. The log has them all the same.
                Setting::new("/proc/sys/kernel/printk", "3")?,
                // Otherwise each live table would wait for some ticks of the clock.
                Setting::new("/sys/kernel/rcu_expedited", "1")?,
            ],
        };
        fuzzer.start_anew(|_| true)?;
        Ok(fuzzer)
    }

    /// Both sides as they were at first, as far as devices are wanted.
    fn start_anew(&self, wanted: impl Fn(usize) -> bool) -> Result<()> {
        for side in &self.sides {
            side.borrow_mut().renew()?;
            side.borrow().fill(&wanted)?;
        }
        Ok(())
    }

    /// Tries table after table, until there are enough failures.
    fn run(&self, seed: Seed, rounds: u64) -> Result<Run> {
        let begin = Instant::now();
        let mut said = begin;
        let (mut live, mut operations) = (0_u64, 0);
        let mut failures = Vec::new();
        let mut done = 0;
        for index in seed.first..seed.first.saturating_add(rounds) {
            // A report of the kernel names the task: it shows the table then.
            rustix::thread::set_name(&std::ffi::CString::new(format!("fuzz-{index}"))?)?;
            if index % RENEWAL == 0 {
                for side in &self.sides {
                    side.borrow_mut().renew()?;
                }
            }
            let plan = (self.plan)(seed.run, index);
            if let Err(error) = self.compare(&plan) {
                failures.push(self.explain(seed, index, &plan, &error));
                if failures.len() == self.enough {
                    break;
                }
            }
            done += 1;
            live += u64::from(self.live.get());
            operations += self.seen.borrow().operations;
            if said.elapsed() > Duration::from_secs(60) {
                said = Instant::now();
                println!("\n  seed {seed}: {done} of {rounds} tables");
            }
        }
        let summary = format!(
            "seed {seed}: {done} tables of {rounds} in {:.0} s, {live} of them taken, {operations} operations",
            begin.elapsed().as_secs_f64()
        );
        Ok(Run { summary, failures })
    }

    /// Does what the plan says on both sides.
    fn compare(&self, plan: &Plan) -> Result<()> {
        self.live.set(false);
        self.seen.take();
        TWINS.compare(self.ctx, |side| {
            let mut state = self.sides[usize::from(side.ours)].borrow_mut();
            for name in TARGETS.iter().chain([&CRYPT]).filter(|_| side.ours) {
                side.alias(self.ctx.env.target(name), *name);
            }
            for (i, below) in state.pool.devices.iter().enumerate() {
                side.alias(below.devno.as_str(), format!("LOWER{i}"));
                side.alias(below.name.as_str(), format!("LOWER{i}"));
            }
            for (_, real, token) in self.aliases.iter().filter(|(own, ..)| side.ours || !own) {
                side.alias(real, token);
            }
            if !side.ours {
                let seen = state.run(side, plan, &self.twist, None)?;
                for key in ["limits", "data"] {
                    side.note(key, "as the twin's");
                }
                self.live.set(seen.live);
                self.seen.replace(seen);
                return Ok(());
            }
            let theirs = self.seen.borrow();
            let seen = state.run(side, plan, &self.twist, Some(&theirs))?;
            let limits = seen.limits.iter().zip(&theirs.limits);
            let differ: Vec<_> = limits.filter(|(a, b)| a != b).collect();
            let differ = match (differ.is_empty(), seen.limits.len() == theirs.limits.len()) {
                (true, true) => None,
                (true, false) => Some("not as many".to_owned()),
                _ => Some(format!("(ours, in-tree): {differ:?}")),
            };
            for (key, differ) in [
                ("limits", differ),
                ("data", seen.data.difference(&theirs.data)),
            ] {
                side.note(key, differ.unwrap_or_else(|| "as the twin's".into()));
            }
            Ok(())
        })
    }

    /// Looks closer at a failure.
    fn explain(&self, seed: Seed, index: u64, plan: &Plan, error: &anyhow::Error) -> Failure {
        let again = |first: u64| {
            let seed = Seed { first, ..seed };
            let rounds = index - first + 1;
            format!("make test T={} SEED={seed} ROUNDS={rounds}", self.name)
        };
        let mut text = format!("table {index} of seed {}: {error:#}\n", seed.run);
        if error.to_string().contains("the kernel reports a bug") {
            text += &format!("{plan}replay: {}\n", again(index));
            return Failure { text, small: None };
        }
        let fails = |plan: &Plan| {
            self.start_anew(|i| plan.names(i))
                .map_or(Some(()), |()| self.compare(plan).err().map(drop))
                .is_some()
        };
        let times = (0..4).filter(|_| fails(plan)).count();
        let mut small = None;
        if times == 0 {
            let first = index - index % RENEWAL;
            text += "It does not differ from a fresh start; the tables before it may matter.\n";
            text += &format!("{plan}replay: {}\n", again(first.max(seed.first)));
        } else {
            let small = small.insert(shrink(plan, SHRINK_TRIES, fails));
            let again_error = match self.start_anew(|_| true).and_then(|()| self.compare(small)) {
                Err(e) => format!("{e:#}"),
                Ok(()) => "(it did not differ this time)".into(),
            };
            text += &format!("Differs {times} times of 4. Made smaller:\n{small}{again_error}\n");
            text += &format!("replay: {}\n", again(index));
        }
        if let Err(e) = self.start_anew(|_| true) {
            text += &format!("the devices cannot be filled again: {e:#}\n");
        }
        Failure { text, small }
    }

    /// Compares the lower devices as a whole, for what went astray.
    fn whole(&self, seed: Seed, rounds: u64) -> Result<()> {
        let [theirs, ours] = [0, 1].map(|i| self.sides[i].borrow_mut().whole());
        match ours?.difference(&theirs?) {
            None => Ok(()),
            Some(difference) => bail!(
                "after all tables, where none of them should write: {difference}\n\
                 Find the table with less of them: make test T={} SEED={seed} ROUNDS={}",
                self.name,
                rounds / 2,
            ),
        }
    }
}
