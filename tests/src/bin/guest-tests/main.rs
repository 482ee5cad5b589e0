// SPDX-License-Identifier: GPL-2.0

//! Tests of the targets in the guest, against the in-tree ones.

use anyhow::{ensure, Context, Result};
use clap::Parser;
use dm_rust_tests::case::{self, Case, Env};
use dm_rust_tests::fuzz::Seed;
use dm_rust_tests::module::{modprobe, Module};
use libtest_mimic::Arguments;
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

mod counter;
mod crypt;
mod debug_kernel;
mod delay;
mod dust;
mod error;
mod flakey;
mod fuzz;
mod harness;
mod linear;
mod module;
mod powercut;
mod probe;
mod striped;
mod tool;
mod zero;

/// Runs the tests, as root, in a guest that may be lost: they load and unload
/// modules and provoke errors.
#[derive(Parser)]
struct Options {
    /// The module to test; without it the in-tree targets are compared with
    /// themselves, which tests the tests.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Where the in-tree targets are that the kernel was built without, as modules.
    #[arg(long, value_name = "DIR", default_value = "/dm-rust/build/twins")]
    twins: PathBuf,
    /// Where the module is whose targets are for tests only.
    #[arg(long, value_name = "DIR", default_value = "/dm-rust/build/probe")]
    probe: PathBuf,
    /// The `dmrs` tool; without it, its tests are ignored.
    #[arg(long, value_name = "FILE")]
    dmrs: Option<PathBuf>,
    /// Fail where a test would be ignored for lack of a device or a tool.
    #[arg(long, env = "DM_RUST_REQUIRE_ALL", value_parser = clap::builder::FalseyValueParser::new())]
    require_all: bool,
    /// Tell on standard error how long each test took, the slowest first.
    #[arg(long)]
    durations: bool,
    /// Run only a share of the tests: `2/3` for every third one, from the second on.
    #[arg(long, value_name = "N/OF", default_value = "1/1")]
    part: Part,
    /// Also run what takes long: all common tests of the targets that few use, more power cuts,
    /// and what finds little beyond the others.
    #[arg(long, env = "LONG", value_parser = clap::builder::FalseyValueParser::new())]
    long: bool,
    /// What the random tables are made of; `RUN:TABLE` begins with that table.
    #[arg(long, env = "SEED", default_value = fuzz::SEED)]
    seed: Seed,
    /// How many random tables are tried; 500 if nothing is said, and 100 on kernels that watch all that
    /// they do.
    #[arg(long, env = "ROUNDS")]
    rounds: Option<u64>,
    #[command(flatten)]
    runner: Arguments,
}

fn all(options: &Options) -> Vec<Case> {
    let rounds = options.rounds.unwrap_or_else(fuzz::rounds);
    let mut cases = harness::cases();
    cases.extend(linear::cases());
    cases.extend(counter::cases());
    cases.extend(striped::cases());
    cases.extend(zero::cases());
    cases.extend(error::cases(options.long));
    cases.extend(dust::cases(options.long));
    cases.extend(delay::cases(options.long));
    cases.extend(flakey::cases(options.long));
    cases.extend(powercut::cases(options.long));
    cases.extend(probe::cases());
    cases.extend(fuzz::cases(options.seed, rounds));
    cases.extend(crypt::cases());
    // Each takes longer than one of the targets that only pass requests on.
    cases.extend(fuzz::crypt_cases(options.seed, rounds / 4));
    cases.extend(debug_kernel::cases());
    cases.extend(module::cases());
    cases.extend(tool::cases());
    cases.retain(|case| options.long || !case.is_long());
    cases.sort_by_key(Case::is_last);
    options.part.share(cases)
}

/// What has more to find where several CPUs are at it: these tests are all in the first part.
const FOR_SEVERAL_CPUS: &[&str] = &[
    "::concurrency::",
    "::live::",
    "crypt::swap::",
    "crypt::lines::threads",
    "crypt::on_disk::ways",
    "crypt::options::",
    "crypt::integrity::",
    "tool::swap_under",
    "tool::swap_killed",
];

/// A share of the tests.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// From 1 to `of`.
    number: usize,
    of: usize,
}

impl Part {
    /// Of the tests that are not for several CPUs the first part has two when the others have three.
    fn share(self, cases: Vec<Case>) -> Vec<Case> {
        let Part { number, of } = self;
        let others = 2..=of;
        let twice = others.clone().chain([1]).chain(others.clone());
        let mut turns = twice.chain([1]).chain(others).cycle();
        let is_mine = |case: &Case| {
            if case.is_in_each_part() {
                true
            } else if FOR_SEVERAL_CPUS.iter().any(|n| case.name().contains(n)) {
                number == 1
            } else {
                turns.next().unwrap_or(1) == number
            }
        };
        let mine = cases.into_iter().filter(is_mine);
        mine.collect()
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Part, Self::Err> {
        let parts = text.split_once('/');
        match parts.map(|(number, of)| (number.parse(), of.parse())) {
            Some((Ok(number), Ok(of))) if (1..=of).contains(&number) => Ok(Part { number, of }),
            _ => Err("give two numbers with a slash between them, such as 1/2"),
        }
    }
}

/// Mounts what the tests look at, where the guest has not.
fn prepare(env: &Env) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "run the tests as root, in the guest"
    );
    for (kind, dir) in [
        ("tracefs", "/sys/kernel/tracing"),
        ("debugfs", "/sys/kernel/debug"),
        ("configfs", "/sys/kernel/config"),
        ("securityfs", "/sys/kernel/security"),
    ] {
        if !Path::new(dir).exists() {
            continue;
        }
        match mount(kind, dir, kind, MountFlags::empty(), None) {
            // It is mounted.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(e) => return Err(e).with_context(|| format!("cannot mount {dir}")),
        }
    }
    for module in ["dm-mod", "loop", "sd_mod"] {
        modprobe(module, &[])?;
    }
    if let Some(module) = &env.module {
        module.ensure_loaded()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    // The kernel log and the devices are common to all: one test at a time.
    options.runner.test_threads = Some(1);
    let env = Arc::new(Env {
        module: options.module.as_deref().map(Module::new),
        twins: options.twins.clone(),
        probe: options.probe.clone(),
        dmrs: options.dmrs.clone(),
        require_all: options.require_all,
        long: options.long,
    });
    if !options.runner.list {
        if let Err(e) = prepare(&env) {
            eprintln!("cannot start the tests: {e:#}");
            return ExitCode::FAILURE;
        }
    }
    let trials = all(&options)
        .into_iter()
        .map(|c| c.into_trial(Arc::clone(&env)))
        .collect();
    let conclusion = libtest_mimic::run(&options.runner, trials);
    if options.durations {
        for (duration, name) in case::durations() {
            eprintln!("{:8.2} s  {name}", duration.as_secs_f64());
        }
    }
    conclusion.exit_code()
}
