// SPDX-License-Identifier: GPL-2.0

//! One scenario on two targets, and what differs.

use crate::case::Ctx;
use crate::dm::{Line, MappedDevice};
use crate::lower::{self, Loop, Lower, NullBlk, ScsiDebug};
use anyhow::{bail, Context, Result};
use std::cell::RefCell;
use std::fmt;

/// How a table of a target is laid over lower devices.
pub struct Shape {
    /// What the tests call it.
    pub name: &'static str,
    /// How many lower devices it needs.
    pub lowers: usize,
    /// Makes the table, given the name of the target and that many lower
    /// devices, all of the same size. What it cuts is cut at whole mebibytes,
    /// so that it fits every block and zone size of the tests.
    pub table: fn(&str, &[Lower]) -> Vec<Line>,
}

/// A target that has a counterpart in the kernel tree.
pub struct Target {
    /// Its in-tree name; ours is that with `rust-` before it.
    pub name: &'static str,
    /// Tables that represent what it can do.
    pub shapes: &'static [Shape],
}

/// A kind of lower device.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A RAM disk.
    Ram,
    /// A loop device.
    Loop(Loop),
    /// A `null_blk` device.
    Null(NullBlk),
    /// A SCSI disk; only one at a time.
    Scsi(ScsiDebug),
    /// Persistent memory; only one.
    Pmem,
    /// The virtio disk; only one.
    Virtio,
}

impl Kind {
    /// Sets up a device of the kind.
    pub fn make(self) -> Result<Lower> {
        match self {
            Kind::Ram => lower::ram(),
            Kind::Loop(kind) => lower::file(kind),
            Kind::Null(attributes) => lower::null(attributes),
            Kind::Scsi(parameters) => lower::scsi(parameters),
            Kind::Pmem => lower::pmem(),
            Kind::Virtio => lower::virtio(),
        }
        .with_context(|| format!("cannot set up {self:?}"))
    }

    /// How many can be there at a time.
    pub fn available(self) -> usize {
        match self {
            Kind::Ram | Kind::Loop(_) | Kind::Null(_) => 4,
            Kind::Scsi(_) | Kind::Pmem | Kind::Virtio => 1,
        }
    }
}

/// What was seen on one side, in order: a name and a value each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation(Vec<(String, String)>);

impl Observation {
    /// What differs, one line each; empty if nothing does.
    pub fn differences(&self, twin: &Observation) -> Vec<String> {
        let mut lines = Vec::new();
        for i in 0..self.0.len().max(twin.0.len()) {
            match (self.0.get(i), twin.0.get(i)) {
                (a, b) if a == b => {}
                (Some((key, ours)), Some((twin_key, theirs))) if key == twin_key => {
                    lines.push(format!("{key}: {}", difference(ours, theirs)));
                }
                (ours, theirs) => lines.push(format!("ours {ours:?}, in-tree {theirs:?}")),
            }
        }
        lines
    }
}

/// The first lines that differ; where one side has lines that the other lacks,
/// those.
fn difference(ours: &str, theirs: &str) -> String {
    if !ours.contains('\n') && !theirs.contains('\n') {
        return format!("ours {ours:?}, in-tree {theirs:?}");
    }
    let only = |a: &str, b: &str| -> Vec<String> {
        let lines = a.lines().filter(|l| !b.lines().any(|m| m == *l));
        lines.take(8).map(str::to_owned).collect()
    };
    format!(
        "{} lines, of which only ours {:#?}; in-tree {} lines, only there {:#?}",
        ours.lines().count(),
        only(ours, theirs),
        theirs.lines().count(),
        only(theirs, ours),
    )
}

/// One of the two runs of a scenario.
pub struct Side<'a> {
    /// Name of the target to use.
    pub target: String,
    /// Whether it is the target under test, not the in-tree one.
    pub ours: bool,
    ctx: &'a Ctx,
    aliases: RefCell<Vec<(String, String)>>,
    seen: RefCell<Observation>,
}

impl Side<'_> {
    /// Notes a value for comparison, with what is known to differ replaced.
    pub fn note(&self, key: impl Into<String>, value: impl fmt::Display) {
        let value = normalise(&value.to_string(), &self.aliases.borrow());
        self.seen.borrow_mut().0.push((key.into(), value));
    }

    /// Replaces `real` by `token` in all that is noted from now on. The latest
    /// alias of a name counts.
    pub fn alias(&self, real: impl Into<String>, token: impl Into<String>) {
        self.aliases
            .borrow_mut()
            .insert(0, (real.into(), token.into()));
    }

    /// Sets up a lower device; it is noted as `LOWER<index>`.
    pub fn lower(&self, kind: Kind, index: usize) -> Result<Lower> {
        let lower = kind.make()?;
        self.alias(lower.devno(), format!("LOWER{index}"));
        self.alias(lower.kernel_name(), format!("LOWER{index}"));
        Ok(lower)
    }

    /// Sets up as many lower devices as a shape needs.
    pub fn lowers(&self, kind: Kind, shape: &Shape) -> Result<Vec<Lower>> {
        (0..shape.lowers).map(|i| self.lower(kind, i)).collect()
    }

    /// Sets up as many lower devices as the largest shape needs of those that
    /// fit the kind.
    pub fn lowers_for(&self, target: &Target, kind: Kind) -> Result<Vec<Lower>> {
        let count = target.fitting(kind).map(|s| s.lowers).max();
        let count = count.with_context(|| format!("no shape fits {kind:?}"))?;
        (0..count).map(|i| self.lower(kind, i)).collect()
    }

    /// Sets up lower devices of a kind, and runs `each` with every shape that
    /// they suffice for. The devices are set up once: what a shape leaves there
    /// is there for the next one, on both sides.
    pub fn each_shape(
        &self,
        target: &Target,
        kind: Kind,
        mut each: impl FnMut(&Shape, &[Lower]) -> Result<()>,
    ) -> Result<()> {
        let lowers = self.lowers_for(target, kind)?;
        for shape in target.fitting(kind) {
            each(shape, &lowers[..shape.lowers])
                .with_context(|| format!("with the table {:?}", shape.name))?;
        }
        Ok(())
    }

    /// Makes a device without a table; it is noted as `DM`.
    pub fn empty_device(&self) -> Result<MappedDevice> {
        let device = MappedDevice::empty()?;
        self.alias(device.devno(), "DM");
        self.alias(device.kernel_name(), "DM");
        self.alias(device.name(), "DM");
        Ok(device)
    }

    /// Makes a live device; it is noted as `DM`.
    pub fn device(&self, table: &[Line]) -> Result<MappedDevice> {
        let device = self.empty_device()?;
        device.load(table).with_context(|| {
            format!(
                "the kernel refuses the table {}",
                crate::dm::table_text(table)
            )
        })?;
        device.resume()?;
        Ok(device)
    }

    /// Notes the lines of the kernel log that match, and takes them.
    pub fn note_log(&self, key: &str, pattern: &str) -> Result<()> {
        self.note(key, self.ctx.take_log(pattern)?.join("\n"));
        Ok(())
    }

    /// The running test.
    pub fn ctx(&self) -> &Ctx {
        self.ctx
    }
}

impl Target {
    /// The shapes that a kind of lower device suffices for.
    pub fn fitting(&self, kind: Kind) -> impl Iterator<Item = &Shape> {
        let fits = move |shape: &&Shape| shape.lowers <= kind.available();
        self.shapes.iter().filter(fits)
    }

    /// Runs `scenario` with our target and with the in-tree one, each on devices
    /// of its own, and compares what it noted.
    ///
    /// # Errors
    /// Lists the differences. A scenario that noted nothing compares nothing,
    /// which is an error too.
    pub fn compare(&self, ctx: &Ctx, scenario: impl Fn(&Side) -> Result<()>) -> Result<()> {
        let run = |ours: bool| -> Result<Observation> {
            let own = ctx.env.target(self.name);
            let side = Side {
                target: if ours { own } else { self.name.to_owned() },
                ours,
                ctx,
                aliases: RefCell::default(),
                seen: RefCell::default(),
            };
            if side.target != self.name {
                side.alias(side.target.clone(), self.name);
            }
            scenario(&side).with_context(|| format!("with target {}", side.target))?;
            Ok(side.seen.into_inner())
        };
        let theirs = run(false)?;
        let ours = run(true)?;
        if ours.0.is_empty() {
            bail!("the scenario noted nothing: make it note what it sees");
        }
        let differences = ours.differences(&theirs);
        if !differences.is_empty() {
            bail!("differs from its in-tree twin:\n{}", differences.join("\n"));
        }
        Ok(())
    }
}

/// Replaces each alias where it stands as a word of its own.
fn normalise(text: &str, aliases: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (real, token) in aliases {
        if text.contains(real.as_str()) {
            text = replace_word(&text, real, token);
        }
    }
    text
}

fn replace_word(text: &str, from: &str, to: &str) -> String {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let begins = !before
            .chars()
            .next_back()
            .or(out.chars().next_back())
            .is_some_and(inside);
        let ends = !after.chars().next().is_some_and(inside);
        out += before;
        out += if begins && ends { to } else { from };
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pairs: &[(&str, &str)]) -> Observation {
        Observation(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        )
    }

    #[test]
    fn only_whole_words_are_replaced() {
        let aliases = [
            ("rust-linear", "linear"),
            ("253:1", "DM"),
            ("ram0", "LOWER0"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()));
        for (text, wanted) in [
            ("table: 253:1: rust-linear: bad", "table: DM: linear: bad"),
            ("253:10 1253:1 253:1", "253:10 1253:1 DM"),
            ("rust-linear-x xrust-linear", "rust-linear-x xrust-linear"),
            ("/dev/ram0 0", "/dev/LOWER0 0"),
            ("253:1253:1", "253:1253:1"),
        ] {
            assert_eq!(normalise(text, &aliases), wanted);
        }
    }

    #[test]
    fn differences_are_found() {
        let a = seen(&[("x", "1"), ("y", "2")]);
        assert!(a.differences(&a.clone()).is_empty());
        assert_eq!(a.differences(&seen(&[("x", "1"), ("y", "3")])).len(), 1);
        assert_eq!(a.differences(&seen(&[("x", "1"), ("z", "2")])).len(), 1);
        assert_eq!(a.differences(&seen(&[("x", "1")])).len(), 1);
        assert_eq!(seen(&[]).differences(&a).len(), 2);
    }
}
