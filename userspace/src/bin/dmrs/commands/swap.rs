// SPDX-License-Identifier: GPL-2.0

//! `swap`.

use std::io::Write;

use dmrs::{Dm, Language, SwapPlan};
use nix::{
    libc::c_int,
    sys::{
        mman::{mlockall, MlockAllFlags},
        prctl,
        signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal},
    },
};
use serde_json::json;

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
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        end_requests_by(signal);
    }
}

/// Has a signal end a request to the kernel with `EINTR`, rather than the process, and rather
/// than have the request begun again as `signal_hook` would.
#[allow(unsafe_code)]
fn end_requests_by(signal: Signal) {
    extern "C" fn ignore(_: c_int) {}

    let handler = SigHandler::Handler(ignore);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: The handler does nothing, so it does nothing that a signal handler may not do, and
    // it lives as long as the program.
    let result = unsafe { sigaction(signal, &action) };
    // Without it, the signal ends the process; the next swap finds what is left then.
    let _ = result;
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
