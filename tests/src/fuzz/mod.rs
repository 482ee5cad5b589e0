// SPDX-License-Identifier: GPL-2.0

//! Random tables with random I/O, for a differential fuzzer.
//!
//! All here is pure: a [`Plan`] follows from a [`Seed`] and the number of the
//! table alone, so that a failure can be replayed. What is done with a plan, and
//! what is compared, is the matter of the tests that run in the guest.
//!
//! Tables are templates: `{3}` stands for the node of device 3 of the [`POOL`],
//! `{#3}` for its `major:minor`, `{dm}` and `{#dm}` for the mapped device itself.
//! Each side puts its own devices there.

use crate::dm::Line;
use fastrand::Rng;
use std::fmt;
use std::str::FromStr;

mod crypt;
mod extents;
mod generate;
mod io;
mod mutate;
mod pool;
pub mod raw;
mod shrink;
mod tokens;

pub use crypt::CRYPT;
pub use extents::{extents, overlap, Extent};
pub use io::{Action, Io, MOST};
pub use pool::{Role, Spec, POOL, TRANSIENT};
pub use shrink::shrink;

/// The targets that are fuzzed, by their in-tree names.
pub const TARGETS: [&str; 7] = [
    "linear", "striped", "error", "zero", "flakey", "delay", "dust",
];

/// Those of them that do different things at different times, or that may take long, if their
/// arguments are not known to be harmless.
const TIMED: [&str; 2] = ["flakey", "delay"];

/// The number that makes a run what it is, and the first table of it: `7`, or
/// `7:120` to begin with table 120.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Of the whole run.
    pub run: u64,
    /// Number of the first table.
    pub first: u64,
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Seed, String> {
        let (run, first) = text.split_once(':').unwrap_or((text, "0"));
        match (run.parse(), first.parse()) {
            (Ok(run), Ok(first)) => Ok(Seed { run, first }),
            _ => Err("give a number, or two with a colon between them, such as 7:120".into()),
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first {
            0 => write!(f, "{}", self.run),
            first => write!(f, "{}:{first}", self.run),
        }
    }
}

/// How a table was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Valid,
    /// A valid one with one mistake.
    Slip,
    /// Of anything.
    Wild,
}

/// When the device [`TRANSIENT`] is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanish {
    /// Before the table is loaded.
    BeforeLoad,
    /// When it is loaded, before it is made live.
    BeforeResume,
    /// When it is live, before the I/O.
    Live,
}

/// What is done to each of the twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the table was made.
    pub mood: Mood,
    /// Whether it is loaded for reading only.
    pub read_only: bool,
    /// Whether it is made live, if it can be loaded.
    pub live: bool,
    /// Whether a device goes away meanwhile.
    pub vanish: Option<Vanish>,
    /// Templates of the lines, with in-tree names.
    pub table: Vec<Line>,
    /// What is sent to the live device at its first sector: to it as it is, and
    /// again when it is suspended.
    pub messages: Vec<String>,
    /// What is done with the device if it takes the table.
    pub io: Vec<Io>,
}

impl Plan {
    /// Table `index` of a run.
    pub fn generate(run: u64, index: u64) -> Plan {
        // Neighbours must have nothing in common.
        let mut rng = Rng::with_seed(run);
        let mut rng = Rng::with_seed(rng.u64(..) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        loop {
            let mut plan = Self::any(&mut rng);
            let timed = |line: &Line| TIMED.contains(&line.target.as_str());
            if plan.mood != Mood::Valid && plan.table.iter().any(timed) {
                plan.live = false;
            }
            if !plan.table.iter().any(tokens::warns_in_tree) {
                plan.io = io::generate(&mut rng, &plan.table);
                return plan;
            }
        }
    }

    /// As [`Plan::generate`], of a run with tables of the crypt target.
    pub fn generate_crypt(run: u64, index: u64) -> Plan {
        let mut rng = Rng::with_seed(run);
        let mut rng = Rng::with_seed(rng.u64(..) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let warns = |line: &Line| {
            // The number of a device would be a number of keys, and each side has its own.
            let device_as_cipher = line.params.trim_start().starts_with(['{', '\\']);
            tokens::warns_in_tree(line) || crypt::warns_in_tree(line) || device_as_cipher
        };
        loop {
            let mut plan = Self::encrypted(&mut rng);
            if !plan.table.iter().any(warns) {
                plan.io = io::generate(&mut rng, &plan.table);
                return plan;
            }
        }
    }

    fn encrypted(rng: &mut Rng) -> Plan {
        let read_only = rng.u32(..24) == 0;
        let mut plan = Plan {
            mood: Mood::Valid,
            read_only,
            live: true,
            vanish: None,
            table: generate::encrypted(rng, read_only),
            messages: Vec::new(),
            io: Vec::new(),
        };
        match rng.u32(..20) {
            0..7 => {
                if rng.u32(..3) == 0 {
                    plan.messages = crypt::messages(rng, &plan.table[0]);
                }
            }
            7..17 => {
                plan.mood = Mood::Slip;
                plan.live = rng.bool();
                let line = rng.usize(..plan.table.len());
                match rng.u32(..3) {
                    0 => mutate::slip(rng, &mut plan),
                    _ => crypt::slip(rng, &mut plan.table[line].params),
                }
            }
            _ => {
                plan.mood = Mood::Wild;
                plan.live = rng.bool();
                let len = tokens::pick(rng, &[8, 64, 64, 63, 1]);
                plan.table = vec![crate::dm::line(0, len, CRYPT, crypt::wild(rng))];
            }
        }
        plan
    }

    fn any(rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            mood: Mood::Valid,
            read_only: rng.u32(..24) == 0,
            live: true,
            vanish: None,
            table: Vec::new(),
            messages: Vec::new(),
            io: Vec::new(),
        };
        match rng.u32(..20) {
            0..5 => {
                if rng.u32(..24) == 0 {
                    let moments = [Vanish::BeforeLoad, Vanish::BeforeResume, Vanish::Live];
                    plan.vanish = rng.choice(moments);
                }
                plan.table = generate::valid(rng, plan.read_only, plan.vanish.is_some());
            }
            5..16 => {
                plan.mood = Mood::Slip;
                // Making it live takes far longer than to load it.
                plan.live = rng.bool();
                plan.table = generate::valid(rng, plan.read_only, false);
                mutate::slip(rng, &mut plan);
            }
            _ => {
                plan.mood = Mood::Wild;
                plan.live = rng.bool();
                plan.table = generate::wild(rng);
            }
        }
        plan
    }

    /// Whether a device of the [`POOL`] is named.
    pub fn names(&self, device: usize) -> bool {
        let forms = [format!("{{{device}}}"), format!("{{#{device}}}")];
        let params = |line: &Line| forms.iter().any(|f| line.params.contains(f.as_str()));
        self.table.iter().any(params)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ", read-only" } else { "" };
        let live = if self.live { "" } else { ", only loaded" };
        writeln!(f, "table ({:?}{mode}{live}):", self.mood)?;
        for line in &self.table {
            let Line { start, len, .. } = line;
            writeln!(f, "  {start} {len} {} {:?}", line.target, line.params)?;
        }
        if let Some(when) = self.vanish {
            writeln!(f, "device {TRANSIENT} vanishes: {when:?}")?;
        }
        for message in &self.messages {
            writeln!(f, "  message {message:?}")?;
        }
        for io in self.io.iter().filter(|_| self.live) {
            writeln!(f, "  {io}")?;
        }
        for (i, spec) in POOL.iter().enumerate().filter(|(i, _)| self.names(*i)) {
            writeln!(f, "{{{i}}} is {spec}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed() {
        for index in 0..200 {
            assert_eq!(Plan::generate(7, index), Plan::generate(7, index));
        }
        let same = (0..200).filter(|i| Plan::generate(7, *i).table == Plan::generate(8, *i).table);
        assert!(same.count() < 20);
    }

    #[test]
    fn every_mood_and_target_is_tried() {
        let plans: Vec<_> = (0..2000).map(|i| Plan::generate(1, i)).collect();
        for mood in [Mood::Valid, Mood::Slip, Mood::Wild] {
            assert!(plans.iter().filter(|p| p.mood == mood).count() > 200);
        }
        for target in TARGETS {
            let has = |p: &&Plan| p.table.iter().any(|l| l.target == target);
            assert!(plans.iter().filter(has).count() > 100, "{target}");
        }
        for device in 0..POOL.len() {
            assert!(plans.iter().any(|p| p.names(device)), "{device}");
        }
        assert!(plans.iter().any(|p| p.vanish == Some(Vanish::Live)));
        assert!(plans.iter().any(|p| p.read_only));
        assert!(plans.iter().any(|p| p.table.len() > 4));
    }

    #[test]
    fn crypt_has_plans_of_its_own() {
        let plans: Vec<_> = (0..1000).map(|i| Plan::generate_crypt(1, i)).collect();
        for (i, plan) in (0..).zip(&plans).step_by(50) {
            assert_eq!(*plan, Plan::generate_crypt(1, i));
        }
        for mood in [Mood::Valid, Mood::Slip, Mood::Wild] {
            assert!(plans.iter().filter(|p| p.mood == mood).count() > 100);
        }
        let has = |p: &&Plan| p.table.iter().any(|l| l.target == CRYPT);
        assert!(plans.iter().filter(has).count() > 900);
        assert!(plans.iter().filter(|p| !p.messages.is_empty()).count() > 50);
        assert!(plans.iter().any(|p| p.table.len() > 1));
    }

    #[test]
    fn seeds_are_read_as_they_are_written() {
        for (text, run, first) in [("7", 7, 0), ("18446744073709551615:12", u64::MAX, 12)] {
            let seed: Seed = text.parse().unwrap();
            assert_eq!(
                (seed, seed.to_string().as_str()),
                (Seed { run, first }, text)
            );
        }
        for text in ["", "x", "1:", ":1", "1:2:3", "-1"] {
            assert!(text.parse::<Seed>().is_err(), "{text}");
        }
    }
}
