// SPDX-License-Identifier: GPL-2.0

//! A live device exchanges its targets for their twins: the in-tree ones, written in C, for those
//! of this project, written in Rust, or back.
//!
//! The new table is loaded beside the live one, and one request lets the kernel finish what is
//! under way, exchange the tables and go on: nobody sees an error, and at no moment is the device
//! without a table. A failure at any step leaves the device with the table it had, running. What
//! a process that was killed has left, an inactive table, the next swap finds and discards.

use devicemapper::Device;

use crate::{
    dm::{Access, DeviceId, Dm, Info, Slot, SuspendOptions},
    error::{Error, Result},
    table::{Table, Target, MAX_TARGET_NAME},
};

/// What the names of this project's targets begin with, followed by the in-tree target's.
const PREFIX: &str = "rust-";

/// Which of the twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The one of this project.
    Rust,
    /// The in-tree one.
    C,
}

/// What a swap does to a device.
#[derive(Clone, Debug)]
pub struct SwapPlan {
    /// The device as it was when the plan was made.
    pub info: Info,
    /// Its table, keys included.
    pub before: Table,
    /// The table that it is to have.
    pub after: Table,
}

impl SwapPlan {
    /// How many lines of the table change.
    pub fn changes(&self) -> usize {
        let pairs = self.before.targets.iter().zip(&self.after.targets);
        pairs.filter(|(before, after)| before != after).count()
    }
}

/// What a swap asks for: the kernel, or a test's idea of it.
trait Hands {
    fn info(&self) -> Result<Info>;
    fn table(&self, slot: Slot) -> Result<Table>;
    fn has_target(&self, name: &str) -> Result<bool>;
    fn load(&self, table: &Table, access: Access) -> Result<()>;
    fn resume(&self) -> Result<()>;
    fn clear(&self) -> Result<()>;
}

struct Kernel<'a> {
    dm: &'a Dm,
    id: DeviceId,
}

impl Hands for Kernel<'_> {
    fn info(&self) -> Result<Info> {
        self.dm.info(&self.id, Slot::Live)
    }

    fn table(&self, slot: Slot) -> Result<Table> {
        Ok(self.dm.table(&self.id, slot)?.1)
    }

    fn has_target(&self, name: &str) -> Result<bool> {
        self.dm.can_have_target(name)
    }

    fn load(&self, table: &Table, access: Access) -> Result<()> {
        self.dm.load(&self.id, table, access)
    }

    fn resume(&self) -> Result<()> {
        // Each sector stays where it is, so a file system on the device need not be frozen.
        let options = SuspendOptions {
            no_flush: false,
            no_lock_fs: true,
        };
        self.dm.resume(&self.id, options).map(drop)
    }

    fn clear(&self) -> Result<()> {
        self.dm.clear(&self.id)
    }
}

impl Dm {
    /// Finds out what swapping a device would do to it. Nothing is changed, but modules that have
    /// a twin may be loaded.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`]; [`Error::NoTwin`] if a target has no twin;
    /// [`Error::NotSwappable`] if the device is not in a state to be swapped.
    pub fn plan_swap(&self, id: &DeviceId, to: Language) -> Result<SwapPlan> {
        // One device throughout, whatever it is renamed to meanwhile.
        let number = DeviceId::Number(self.info(id, Slot::Live)?.device);
        plan(
            &Kernel {
                dm: self,
                id: number,
            },
            to,
        )
    }

    /// Swaps a device as planned.
    ///
    /// # Errors
    ///
    /// Those of [`Dm::plan_swap`], and [`Error::Refused`] if the kernel refuses a step. The device
    /// is then as it was. If even that is refused, [`Error::SwapStuck`] says what is left to do.
    pub fn swap(&self, plan: &SwapPlan) -> Result<()> {
        let id = DeviceId::Number(plan.info.device);
        execute(&Kernel { dm: self, id }, plan)
    }
}

fn plan(hands: &dyn Hands, to: Language) -> Result<SwapPlan> {
    let info = hands.info()?;
    let refuse = |why| Err(Error::NotSwappable(info.shown_name(), why));
    if !info.live_table {
        return refuse("it has no table: load one, and resume it");
    }
    if info.suspended {
        return refuse("it is suspended: resume it first");
    }
    let before = hands.table(Slot::Live)?;
    if info.inactive_table && !is_twin(&hands.table(Slot::Inactive)?, &before) {
        return refuse("another table waits in its inactive slot: resume or clear it first");
    }
    let mut lacking = Vec::new();
    let mut after = Table::default();
    for target in &before.targets {
        match twin(hands, &target.name, to)? {
            Some(name) => after.targets.push(Target {
                name,
                ..target.clone()
            }),
            None => lacking.push(target.name.clone()),
        }
    }
    lacking.dedup();
    match lacking.is_empty() {
        true => Ok(SwapPlan {
            info,
            before,
            after,
        }),
        false => Err(Error::NoTwin {
            device: info.shown_name(),
            targets: lacking,
        }),
    }
}

/// The name under which a target is known on the other side; its own if it is there already.
fn twin(hands: &dyn Hands, name: &str, to: Language) -> Result<Option<String>> {
    let twin = match (to, name.strip_prefix(PREFIX)) {
        (Language::Rust, Some(_)) | (Language::C, None) => return Ok(Some(name.to_owned())),
        (Language::Rust, None) => format!("{PREFIX}{name}"),
        (Language::C, Some(name)) => name.to_owned(),
    };
    let there = twin.len() <= MAX_TARGET_NAME && hands.has_target(&twin)?;
    Ok(there.then_some(twin))
}

/// Whether two tables are the same but for which of the twins serves a line.
fn is_twin(a: &Table, b: &Table) -> bool {
    fn plain(target: &Target) -> (u64, u64, &str, &str) {
        let name = target.name.strip_prefix(PREFIX).unwrap_or(&target.name);
        (target.start, target.length, name, &target.args)
    }
    a.targets.iter().map(plain).eq(b.targets.iter().map(plain))
}

fn execute(hands: &dyn Hands, plan: &SwapPlan) -> Result<()> {
    let info = hands.info()?;
    let device = info.device;
    let refuse = |why| Err(Error::NotSwappable(info.shown_name(), why));
    if info.suspended || !info.live_table || hands.table(Slot::Live)? != plan.before {
        return refuse("it was changed since the swap was planned: try again");
    }
    if info.inactive_table {
        if !is_twin(&hands.table(Slot::Inactive)?, &plan.before) {
            return refuse("a table was loaded since the swap was planned: resume or clear it");
        }
        // Left by a swap that was killed.
        hands.clear()?;
    }
    if plan.changes() == 0 {
        return Ok(());
    }
    let access = match info.read_only {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    };
    // A load that fails leaves nothing.
    hands.load(&plan.after, access)?;
    match hands.resume() {
        Ok(()) => Ok(()),
        // The tables may have been exchanged all the same, if it failed after that.
        Err(_) if went_through(hands, plan) => Ok(()),
        Err(error) => match undo(hands, device) {
            Ok(()) => Err(error),
            Err(left) => Err(Error::SwapStuck {
                device: info.shown_name(),
                left,
                cause: Box::new(error),
            }),
        },
    }
}

fn went_through(hands: &dyn Hands, plan: &SwapPlan) -> bool {
    let runs = hands.info().is_ok_and(|info| !info.suspended);
    runs && hands
        .table(Slot::Live)
        .is_ok_and(|live| live.targets == plan.after.targets)
}

/// Has a device run on with the table it had.
fn undo(hands: &dyn Hands, device: Device) -> std::result::Result<(), String> {
    let info = hands.info();
    // What cannot be asked for is done in any case: neither harms a device that needs it not.
    let (suspended, inactive) = match &info {
        Ok(info) => (info.suspended, info.inactive_table),
        Err(_) => (true, true),
    };
    // First, or resuming would exchange the tables after all.
    if inactive && hands.clear().is_err() && hands.clear().is_err() {
        return Err(match suspended {
            true => format!("run 'dmrs clear {device}' and 'dmrs resume {device}'"),
            false => format!("run 'dmrs clear {device}'"),
        });
    }
    if suspended && hands.resume().is_err() && hands.resume().is_err() {
        return Err(format!("run 'dmrs resume {device}'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
