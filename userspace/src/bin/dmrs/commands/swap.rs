// SPDX-License-Identifier: GPL-2.0

//! `swap`.

use std::{
    io::Write,
    sync::{atomic::AtomicBool, Arc},
};

use dmrs::{Dm, Language, SwapPlan};
use nix::sys::{
    mman::{mlockall, MlockAllFlags},
    prctl,
};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    cli::{self, Swap},
    failed::Failed,
    output::{self, Output, NEW, OLD},
};

pub fn swap(dm: &Dm, args: &Swap, out: &mut Output) -> Result<(), Failed> {
    protect();
    let to = match args.to {
        cli::Language::Rust => Language::Rust,
        cli::Language::C => Language::C,
    };
    let plan = dm.plan_swap(&dm.find(&args.device)?, to)?;
    if !args.dry_run {
        dm.swap(&plan)?;
    }
    match out.json {
        true => document(&plan, args, out)?,
        false => show(&plan, args, out)?,
    }
    Ok(())
}

/// The table holds keys, and the device may be the one that this program is read from.
fn protect() {
    // No core dump, and no copy in swap space. What is not allowed, or not to be had, must not keep
    // the swap from being done.
    let _ = prctl::set_dumpable(false);
    let _ = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
    // A request that waits is ended by these, and what was done is undone.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let flag = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal, flag);
    }
}

fn document(plan: &SwapPlan, args: &Swap, out: &mut Output) -> Result<(), Failed> {
    let lines = |table: &dmrs::Table| -> Vec<_> {
        let targets = table.targets.iter();
        targets.map(|line| output::target(line, false)).collect()
    };
    let mut document = output::identity(&plan.info);
    document["swapped"] = json!(!args.dry_run && plan.changes() > 0);
    document["changes"] = json!(plan.changes());
    document["before"] = json!(lines(&plan.before));
    document["after"] = json!(lines(&plan.after));
    out.document(&document)?;
    Ok(())
}

fn show(plan: &SwapPlan, args: &Swap, out: &mut Output) -> Result<(), Failed> {
    let name = plan.info.shown_name();
    if plan.changes() == 0 {
        writeln!(out, "{name}: nothing to swap")?;
        return Ok(());
    }
    for (before, after) in plan.before.targets.iter().zip(&plan.after.targets) {
        match before == after {
            true => writeln!(out, "  {before}")?,
            false => {
                writeln!(out, "{OLD}- {before}{OLD:#}")?;
                writeln!(out, "{NEW}+ {after}{NEW:#}")?;
            }
        }
    }
    let (changes, all) = (plan.changes(), plan.before.targets.len());
    match args.dry_run {
        true => writeln!(out, "{name}: {changes} of {all} lines would be swapped")?,
        false => writeln!(out, "{name}: {changes} of {all} lines swapped")?,
    }
    Ok(())
}
