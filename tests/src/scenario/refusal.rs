// SPDX-License-Identifier: GPL-2.0

//! Tables that are refused: the twin's errno, the twin's message, and nothing
//! left open.

use crate::case::{case, Case, Ctx};
use crate::disk::expect_released;
use crate::dm::{line, outcome, table_text, Line};
use crate::lower::Lower;
use crate::twin::{Kind, Side, Target};
use anyhow::{Context, Result};

/// Arguments to try, by the length of their line in sectors; `{}` stands for the
/// lower device.
pub type Arguments = &'static [(u64, &'static [&'static str])];

/// Tries arguments of one target, all on one lower device.
pub fn arguments(ctx: &Ctx, target: &Target, list: Arguments) -> Result<()> {
    target.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for &(len, arguments) in list {
            for template in arguments {
                let params = template.replace("{}", &lower.node());
                let table = [line(0, len, &side.target, params)];
                attempt(side, &format!("{len}: {template:?}"), &table, &[&lower])?;
            }
        }
        Ok(())
    })
}

/// Tries a table, notes what came of it, and that it left nothing open.
pub fn attempt(side: &Side, key: &str, table: &[Line], lowers: &[&Lower]) -> Result<()> {
    let device = side.empty_device()?;
    side.note(format!("{key} load"), outcome(device.load(table)));
    side.note_log(&format!("{key} log"), "^device-mapper: ")?;
    let inactive = device.inactive_table()?;
    side.note(format!("{key} inactive"), table_text(&inactive));
    if inactive.is_empty() {
        for lower in lowers {
            expect_released(lower.path()).with_context(|| format!("after {key}"))?;
        }
    }
    Ok(())
}

/// For any target: good lines before and after those that undo them.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = format!("{}::refusal::undone", target.name);
    vec![case(name, move |ctx| undone(ctx, target))]
}

fn undone(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        let lowers = side.lowers_for(target, Kind::Ram)?;
        for shape in target.fitting(Kind::Ram) {
            let lowers = &lowers[..shape.lowers];
            let refs: Vec<_> = lowers.iter().collect();
            let good = (shape.table)(&side.target, lowers);
            let end = good.last().map_or(0, |l| l.start + l.len);
            let with = |extra: Line| [good.clone(), vec![extra]].concat();
            let attempt = |what: &str, table: Vec<Line>| {
                attempt(side, &format!("{} {what}", shape.name), &table, &refs)
            };
            attempt("unknown after", with(line(end, 8, "no-such-target", "")))?;
            attempt("gap after", with(line(end + 8, 8, "error", "")))?;
            attempt("overlap after", with(line(end - 8, 8, "error", "")))?;
            attempt("empty after", with(line(end, 0, "error", "")))?;
            attempt("beyond the end", with(line(end, u64::MAX, "error", "")))?;
            attempt("not alone", with(line(end, 8, "thin-pool", "x")))?;
            let mut bad = good.clone();
            if let Some(last) = bad.last_mut() {
                last.params += " and more";
            }
            attempt("more arguments", bad.clone())?;
            // Of all lines but the last one, which cannot be made.
            let moved = |l: &Line| line(l.start + end, l.len, &l.target, l.params.clone());
            let bad: Vec<_> = good.iter().cloned().chain(bad.iter().map(moved)).collect();
            attempt("the last of many", bad)?;
        }
        Ok(())
    })
}
