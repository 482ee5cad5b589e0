// SPDX-License-Identifier: GPL-2.0

//! Commands that show devices together, and what stands on what.

use std::io::Write;

use dmrs::{block::Block, Device, DeviceId, Dm, Info, Slot, Table};
use serde_json::{json, Value};
use termtree::Tree;

use super::{all, all_or_some, slot};
use crate::{
    cli::{Deps, Ls},
    failed::Failed,
    output::{self, Output, DIM, NAME},
};

pub fn list(dm: &Dm, args: &Ls, out: &mut Output) -> Result<(), Failed> {
    let mut devices = Vec::new();
    for id in all(dm)? {
        let (info, table) = dm.status(&id, Slot::Live, true)?;
        let has = |target: &String| table.targets.iter().any(|line| line.name == *target);
        if args.target.as_ref().is_none_or(has) {
            devices.push((info, table));
        }
    }
    if args.tree {
        return trees(dm, &devices, out);
    }
    if out.json {
        let documents: Vec<_> = devices.iter().map(|(i, t)| document(i, t)).collect();
        out.document(&documents)?;
    } else if devices.is_empty() {
        writeln!(out, "No devices found")?;
    } else {
        let rows = devices.iter().map(|(i, t)| row(i, t)).collect();
        let headings = ["NAME", "NUMBER", "SIZE", "OPEN", "TARGETS", "STATE"];
        write!(out, "{}", output::columns(&headings, rows, &[2, 3]))?;
    }
    Ok(())
}

fn targets(table: &Table) -> Vec<&str> {
    let mut names: Vec<_> = table
        .targets
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn row(info: &Info, table: &Table) -> Vec<String> {
    vec![
        info.shown_name(),
        info.device.to_string(),
        output::size(table.size()),
        info.open_count.to_string(),
        targets(table).join(","),
        output::state(info),
    ]
}

fn document(info: &Info, table: &Table) -> Value {
    let mut document = output::identity(info);
    document["sectors"] = json!(table.size());
    document["open_count"] = json!(info.open_count);
    document["suspended"] = json!(info.suspended);
    document["read_only"] = json!(info.read_only);
    document["targets"] = json!(targets(table));
    document
}

pub fn dependencies(dm: &Dm, args: &Deps, out: &mut Output) -> Result<(), Failed> {
    let shown = all_or_some(dm, &args.devices)?;
    let mut documents = Vec::new();
    for id in &shown.ids {
        let (info, devices) = dm.dependencies(id, slot(args.inactive))?;
        if out.json {
            let mut document = output::identity(&info);
            document["devices"] = devices.iter().map(|&device| lower(device)).collect();
            documents.push(document);
            continue;
        }
        let prefix = match shown.with_names {
            true => format!("{NAME}{}{NAME:#}: ", info.shown_name()),
            false => String::new(),
        };
        let names: Vec<_> = devices.iter().map(|&device| label(device)).collect();
        writeln!(out, "{prefix}{}", names.join(", "))?;
    }
    match (out.json, shown.ids.is_empty()) {
        (true, _) => out.document(&documents)?,
        (false, true) => writeln!(out, "No devices found")?,
        (false, false) => {}
    }
    Ok(())
}

fn lower(device: Device) -> Value {
    let block = Block::new(device);
    json!({
        "name": block.as_ref().map(Block::shown_name),
        "kernel_name": block.as_ref().map(|block| &block.kernel_name),
        "major": device.major,
        "minor": device.minor,
    })
}

fn label(device: Device) -> String {
    match Block::new(device) {
        Some(block) => format!("{} ({device})", block.shown_name()),
        None => format!("({device})"),
    }
}

/// A device and what it stands on.
fn node(dm: &Dm, device: Device) -> Result<(String, Value, Vec<Device>), Failed> {
    let below = match Block::new(device).is_some_and(|block| block.dm_name().is_some()) {
        true => dm.dependencies(&DeviceId::Number(device), Slot::Live)?.1,
        false => Vec::new(),
    };
    Ok((label(device), lower(device), below))
}

fn text_tree(dm: &Dm, device: Device) -> Result<Tree<String>, Failed> {
    let (label, _, below) = node(dm, device)?;
    let leaves: Result<Vec<_>, Failed> = below.iter().map(|&d| text_tree(dm, d)).collect();
    Ok(Tree::new(label).with_leaves(leaves?))
}

fn value_tree(dm: &Dm, device: Device) -> Result<Value, Failed> {
    let (_, mut value, below) = node(dm, device)?;
    let below: Result<Vec<_>, Failed> = below.iter().map(|&d| value_tree(dm, d)).collect();
    value["devices"] = json!(below?);
    Ok(value)
}

/// The devices on which no other stands, each with what it stands on itself.
fn trees(dm: &Dm, devices: &[(Info, Table)], out: &mut Output) -> Result<(), Failed> {
    let mut lower_ones = Vec::new();
    for (info, _) in devices {
        lower_ones.extend(dm.dependencies(&output::by_number(info), Slot::Live)?.1);
    }
    let tops = devices
        .iter()
        .map(|(info, _)| info)
        .filter(|info| !lower_ones.contains(&info.device));
    if out.json {
        let trees: Result<Vec<_>, Failed> = tops.map(|i| value_tree(dm, i.device)).collect();
        out.document(&trees?)?;
        return Ok(());
    }
    if devices.is_empty() {
        writeln!(out, "No devices found")?;
    }
    for info in tops {
        let tree = text_tree(dm, info.device)?.to_string();
        for line in tree.lines() {
            let at = line
                .find(|c: char| !matches!(c, ' ' | '│' | '├' | '└' | '─' | '\u{a0}'))
                .unwrap_or(0);
            let (lines, name) = line.split_at(at);
            writeln!(out, "{DIM}{lines}{DIM:#}{name}")?;
        }
    }
    Ok(())
}
