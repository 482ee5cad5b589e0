// SPDX-License-Identifier: GPL-2.0

//! `diff`.

use std::{
    io::Write,
    ops::Range,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use dmrs::{
    block::Block,
    compare::{self, LimitDifference},
    DeviceId, Dm, Error, Slot, Table,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    cli::Diff,
    failed::Failed,
    output::{self, Output, HEADING, NEW, OLD},
};

const SECTOR: u64 = 512;
/// The largest logical block there is, in bytes.
const BLOCK: u64 = 4096;

/// One of the two.
struct Side {
    block: Block,
    sectors: u64,
    /// Device-mapper's devices have one.
    table: Option<Table>,
}

impl Side {
    fn find(dm: Option<&Dm>, text: &str) -> Result<Side, Failed> {
        let found = dm.map(|dm| Ok::<_, Error>((dm.table(&dm.find(text)?, Slot::Live)?, dm)));
        let (block, table) = match found {
            Some(Ok(((info, table), _))) => (Block::new(info.device), Some(table)),
            // A path can be another driver's device.
            _ => (Block::find(text).ok(), None),
        };
        let block = block.ok_or_else(|| Error::NoSuchDevice(text.to_owned()))?;
        let table = match (table, dm) {
            (None, Some(dm)) if block.dm_name().is_some() => {
                Some(dm.table(&DeviceId::Number(block.device), Slot::Live)?.1)
            }
            (table, _) => table,
        };
        Ok(Side {
            sectors: block.sectors().unwrap_or(0),
            block,
            table,
        })
    }

    /// The kernel's own node: it is there whatever udev does.
    fn path(&self) -> PathBuf {
        PathBuf::from("/dev").join(&self.block.kernel_name)
    }

    /// The lines of its table, without keys.
    fn lines(&self) -> Vec<String> {
        let targets = self.table.iter().flat_map(|table| &table.targets);
        targets.map(ToString::to_string).collect()
    }
}

pub fn diff(
    open: impl FnOnce() -> Result<Dm, Error>,
    args: &Diff,
    out: &mut Output,
) -> Result<(), Failed> {
    let dm = match open() {
        Ok(dm) => Some(dm),
        Err(Error::NoControl { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let a = Side::find(dm.as_ref(), &args.a)?;
    let b = Side::find(dm.as_ref(), &args.b)?;
    // Keys count, though they are not shown.
    let tables_differ = match (&a.table, &b.table) {
        (Some(a), Some(b)) => Some(a != b),
        _ => None,
    };
    let limits = compare::limits(&a.block, &b.block);
    if !out.json {
        show(&a, &b, tables_differ, &limits, out)?;
        out.flush()?;
    }
    let data = match args.no_data {
        true => None,
        false => Some(compare_data(&a, &b, args.range, out.json)?),
    };
    let data_differ = data.as_ref().is_some_and(|ranges| !ranges.is_empty());
    let differ =
        tables_differ == Some(true) || a.sectors != b.sectors || !limits.is_empty() || data_differ;
    match out.json {
        true => document(
            (&a, &b),
            tables_differ,
            &limits,
            data.as_deref(),
            differ,
            out,
        )?,
        false => show_data(data.as_deref(), out)?,
    }
    match differ {
        true => Err(Failed::Differ),
        false => Ok(()),
    }
}

fn show(
    a: &Side,
    b: &Side,
    tables_differ: Option<bool>,
    limits: &[LimitDifference],
    out: &mut Output,
) -> Result<(), Failed> {
    let title = |side: &Side| {
        let block = &side.block;
        format!(
            "{} ({}, {})",
            block.shown_name(),
            block.device,
            output::size(side.sectors)
        )
    };
    writeln!(out, "{OLD}- {}{OLD:#}", title(a))?;
    writeln!(out, "{NEW}+ {}{NEW:#}", title(b))?;
    let heading = |text: &str| format!("{HEADING}{text}{HEADING:#}");
    match tables_differ {
        Some(true) => {
            writeln!(out, "{}", heading("tables"))?;
            for line in a.lines() {
                writeln!(out, "{OLD}- {line}{OLD:#}")?;
            }
            for line in b.lines() {
                writeln!(out, "{NEW}+ {line}{NEW:#}")?;
            }
            if a.lines() == b.lines() {
                writeln!(out, "  the keys differ")?;
            }
        }
        Some(false) => writeln!(out, "{}: the same", heading("tables"))?,
        None => {}
    }
    if limits.is_empty() {
        writeln!(out, "{}: the same", heading("limits"))?;
        return Ok(());
    }
    writeln!(out, "{}", heading("limits"))?;
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    for limit in limits {
        let (a, b) = (value(&limit.a), value(&limit.b));
        writeln!(out, "  {}: {OLD}{a}{OLD:#} {NEW}{b}{NEW:#}", limit.name)?;
    }
    Ok(())
}

/// The ranges that differ, in bytes.
fn compare_data(
    a: &Side,
    b: &Side,
    range: Option<(u64, u64)>,
    quiet: bool,
) -> Result<Vec<Range<u64>>, Failed> {
    let common = a.sectors.min(b.sectors);
    let (start, end) = match range {
        // Whole blocks, in which any device can be read.
        Some((start, length)) => {
            let end = (start + length).next_multiple_of(BLOCK / SECTOR);
            (start.min(common), end.min(common))
        }
        None => (0, common),
    };
    let bytes = start * SECTOR..end * SECTOR;
    // Drawn on standard error, and on a terminal only.
    let bar = match quiet {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(bytes.end - bytes.start),
    };
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:40} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
    ) {
        bar.set_style(style);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    let compared = compare::data(&a.path(), &b.path(), bytes, |done| {
        bar.inc(done);
        !stop.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    if stop.load(Ordering::Relaxed) {
        return Err(Failed::Interrupted);
    }
    compared.map_err(|source| Failed::Read {
        path: format!("{} or {}", a.path().display(), b.path().display()),
        source,
    })
}

fn show_data(data: Option<&[Range<u64>]>, out: &mut Output) -> Result<(), Failed> {
    let Some(ranges) = data else {
        return Ok(());
    };
    if ranges.is_empty() {
        writeln!(out, "{HEADING}data{HEADING:#}: the same")?;
        return Ok(());
    }
    writeln!(out, "{HEADING}data{HEADING:#}, in sectors START+LENGTH")?;
    for range in ranges {
        let (start, length) = (range.start / SECTOR, (range.end - range.start) / SECTOR);
        writeln!(out, "  {start}+{length} ({})", output::size(length))?;
    }
    Ok(())
}

fn document(
    (a, b): (&Side, &Side),
    tables_differ: Option<bool>,
    limits: &[LimitDifference],
    data: Option<&[Range<u64>]>,
    differ: bool,
    out: &mut Output,
) -> Result<(), Failed> {
    let side = |side: &Side| {
        json!({
            "name": side.block.shown_name(),
            "major": side.block.device.major,
            "minor": side.block.device.minor,
            "sectors": side.sectors,
            "table": side.table.as_ref().map(|_| side.lines()),
        })
    };
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| json!({ "name": limit.name, "a": limit.a, "b": limit.b }))
        .collect();
    let data: Option<Vec<_>> = data.map(|ranges| {
        let one = |range: &Range<u64>| {
            json!({
                "start": range.start / SECTOR,
                "length": (range.end - range.start) / SECTOR,
            })
        };
        ranges.iter().map(one).collect()
    });
    out.document(&json!({
        "a": side(a),
        "b": side(b),
        "differ": differ,
        "tables_differ": tables_differ,
        "limits": limits,
        "data": data,
    }))?;
    Ok(())
}
