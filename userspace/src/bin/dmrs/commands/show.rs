// SPDX-License-Identifier: GPL-2.0

//! Commands that show devices one by one.

use std::io::Write;

use dmrs::{block::Block, concise, holders, name, Device, DeviceId, Dm, Info, Slot, Table, Target};
use serde_json::json;

use super::{all_or_some, slot};
use crate::{
    cli,
    failed::Failed,
    output::{self, Output, HEADING, NAME, OLD, TARGET},
};

pub fn table(dm: &Dm, args: &cli::Table, out: &mut Output) -> Result<(), Failed> {
    if args.concise {
        return concise_tables(dm, args, out);
    }
    let get = |id: &DeviceId| dm.table(id, slot(args.inactive));
    let target = args.target.as_deref();
    tables(dm, &args.devices, target, args.show_keys, out, get)
}

pub fn status(dm: &Dm, args: &cli::Status, out: &mut Output) -> Result<(), Failed> {
    let get = |id: &DeviceId| dm.status(id, slot(args.inactive), args.no_flush);
    // A status has no keys, and zeros in it would be wrong.
    tables(dm, &args.devices, args.target.as_deref(), true, out, get)
}

fn tables(
    dm: &Dm,
    devices: &cli::Devices,
    target: Option<&str>,
    keys: bool,
    out: &mut Output,
    get: impl Fn(&DeviceId) -> dmrs::Result<(Info, Table)>,
) -> Result<(), Failed> {
    let shown = all_or_some(dm, devices)?;
    let wanted = |line: &&Target| target.is_none_or(|target| target == line.name);
    let mut documents = Vec::new();
    for id in &shown.ids {
        let (info, table) = get(id)?;
        if out.json {
            let lines = table.targets.iter().filter(wanted);
            let mut document = output::identity(&info);
            document["targets"] = lines.map(|line| output::target(line, keys)).collect();
            documents.push(document);
            continue;
        }
        let prefix = match shown.with_names {
            true => format!("{NAME}{}{NAME:#}: ", info.shown_name()),
            false => String::new(),
        };
        if table.targets.is_empty() && target.is_none() {
            writeln!(out, "{prefix}")?;
        }
        for line in table.targets.iter().filter(wanted) {
            write!(out, "{prefix}")?;
            table_line(line, keys, out)?;
        }
    }
    match (out.json, shown.ids.is_empty()) {
        (true, _) => out.document(&documents)?,
        (false, true) => writeln!(out, "No devices found")?,
        (false, false) => {}
    }
    Ok(())
}

/// The line as a table has it, in colours on a terminal.
pub fn table_line(line: &Target, keys: bool, out: &mut Output) -> Result<(), Failed> {
    let hidden = line.args_without_keys();
    let args = if keys { &line.args } else { &hidden };
    let (start, length, name) = (line.start, line.length, &line.name);
    writeln!(
        out,
        "{start} {length} {TARGET}{name}{TARGET:#} {}",
        args.as_str()
    )?;
    Ok(())
}

fn concise_tables(dm: &Dm, args: &cli::Table, out: &mut Output) -> Result<(), Failed> {
    let mut all = zeroize::Zeroizing::new(String::new());
    for id in all_or_some(dm, &args.devices)?.ids {
        let (info, table) = dm.table(&id, Slot::Live)?;
        let device = concise::format(&info, &table, args.show_keys);
        // Grown by hand: a string that grows by itself leaves copies behind.
        let mut longer = String::with_capacity(all.len() + device.len() + 1);
        longer.push_str(&all);
        if !all.is_empty() {
            longer.push(';');
        }
        longer.push_str(&device);
        all = zeroize::Zeroizing::new(longer);
    }
    match out.json {
        true => out.document(&json!({ "concise": all.as_str() }))?,
        false => writeln!(out, "{}", all.as_str())?,
    }
    Ok(())
}

pub fn info(dm: &Dm, args: &cli::Info, out: &mut Output) -> Result<(), Failed> {
    let shown = all_or_some(dm, &args.devices)?;
    let mut documents = Vec::new();
    for id in &shown.ids {
        let info = dm.info(id, slot(args.inactive))?;
        if out.json {
            documents.push(info_document(&info));
        } else {
            show_info(&info, out)?;
        }
    }
    match (out.json, shown.ids.is_empty()) {
        (true, _) => out.document(&documents)?,
        (false, true) => writeln!(out, "No devices found")?,
        (false, false) => {}
    }
    Ok(())
}

fn sectors(info: &Info) -> Option<u64> {
    Block::new(info.device)?.sectors()
}

fn info_document(info: &Info) -> serde_json::Value {
    let mut document = output::identity(info);
    let held: Vec<_> = holders(info.device)
        .iter()
        .map(ToString::to_string)
        .collect();
    let rest = json!({
        "sectors": sectors(info),
        "suspended": info.suspended,
        "read_only": info.read_only,
        "live_table": info.live_table,
        "inactive_table": info.inactive_table,
        "deferred_remove": info.deferred_remove,
        "open_count": info.open_count,
        "event_nr": info.event_nr,
        "target_count": info.target_count,
        "read_ahead": info.read_ahead(),
        "used_by": held,
    });
    if let (Some(document), Some(rest)) = (document.as_object_mut(), rest.as_object()) {
        document.extend(rest.clone());
    }
    document
}

fn show_info(info: &Info, out: &mut Output) -> Result<(), Failed> {
    let name = info.shown_name();
    writeln!(
        out,
        "{HEADING}Name:{HEADING:#}              {NAME}{name}{NAME:#}"
    )?;
    let mut line = |heading: &str, text: String| {
        let space = " ".repeat(18_usize.saturating_sub(heading.len() + 1));
        writeln!(out, "{HEADING}{heading}:{HEADING:#}{space} {text}")
    };
    let state = match info.suspended {
        true => format!("{OLD}SUSPENDED{OLD:#}"),
        false => "ACTIVE".to_owned(),
    };
    let read_only = if info.read_only { " (READ-ONLY)" } else { "" };
    let deferred = if info.deferred_remove {
        " (DEFERRED REMOVE)"
    } else {
        ""
    };
    line("State", format!("{state}{read_only}{deferred}"))?;
    if let Some(sectors) = sectors(info) {
        line(
            "Size",
            format!("{} ({sectors} sectors)", output::size(sectors)),
        )?;
    }
    if let Some(sectors) = info.read_ahead() {
        line("Read Ahead", sectors.to_string())?;
    }
    let tables = match (info.live_table, info.inactive_table) {
        (false, false) => "None",
        (true, false) => "LIVE",
        (false, true) => "INACTIVE",
        (true, true) => "LIVE & INACTIVE",
    };
    line("Tables present", tables.to_owned())?;
    line("Open count", info.open_count.to_string())?;
    line("Event number", info.event_nr.to_string())?;
    let Device { major, minor } = info.device;
    line("Major, minor", format!("{major}, {minor}"))?;
    line("Number of targets", info.target_count.to_string())?;
    if let Some(uuid) = &info.uuid {
        line("UUID", name::show_uuid(uuid))?;
    }
    for holder in holders(info.device) {
        line("Used", holder.to_string())?;
    }
    writeln!(out)?;
    Ok(())
}

pub fn targets(dm: &Dm, out: &mut Output) -> Result<(), Failed> {
    let targets = dm.targets()?;
    let version = |[major, minor, patch]: [u32; 3]| format!("{major}.{minor}.{patch}");
    if out.json {
        let documents: Vec<_> = targets
            .iter()
            .map(|target| json!({ "name": target.name, "version": version(target.version) }))
            .collect();
        out.document(&documents)?;
        return Ok(());
    }
    for target in targets {
        let (name, version) = (target.name, version(target.version));
        writeln!(out, "{TARGET}{name:<16}{TARGET:#} v{version}")?;
    }
    Ok(())
}

pub fn version(dm: &Dm, out: &mut Output) -> Result<(), Failed> {
    let [major, minor, patch] = dm.version()?;
    let (tool, driver) = (
        env!("CARGO_PKG_VERSION"),
        format!("{major}.{minor}.{patch}"),
    );
    match out.json {
        true => out.document(&json!({ "tool": tool, "driver": driver }))?,
        false => {
            writeln!(out, "Tool version:      {tool}")?;
            writeln!(out, "Driver version:    {driver}")?;
        }
    }
    Ok(())
}
