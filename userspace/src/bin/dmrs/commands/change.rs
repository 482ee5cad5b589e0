// SPDX-License-Identifier: GPL-2.0

//! Commands that change devices, other than by tables.

use std::io::Write;

use dmrs::{name, Dm, Error, RemoveOptions, SuspendOptions};
use serde_json::json;
use zeroize::Zeroizing;

use super::{all_or_some, some_devices, usage};
use crate::{
    cli::{Devices, Message, Remove, Rename, SomeDevices, Suspend, Wait},
    failed::Failed,
    output::Output,
};

pub fn clear(dm: &Dm, args: &SomeDevices) -> Result<(), Failed> {
    for id in some_devices(dm, args)? {
        dm.clear(&id)?;
    }
    Ok(())
}

fn suspend_options(args: &Suspend) -> SuspendOptions {
    SuspendOptions {
        no_flush: args.no_flush,
        no_lock_fs: args.no_lock_fs,
    }
}

pub fn suspend(dm: &Dm, args: &Suspend) -> Result<(), Failed> {
    for id in some_devices(dm, &args.devices)? {
        dm.suspend(&id, suspend_options(args))?;
    }
    Ok(())
}

pub fn resume(dm: &Dm, args: &Suspend) -> Result<(), Failed> {
    for id in some_devices(dm, &args.devices)? {
        dm.resume(&id, suspend_options(args))?;
    }
    Ok(())
}

pub fn rename(dm: &Dm, args: &Rename) -> Result<(), Failed> {
    let id = dm.find(&args.device)?;
    match (&args.name, &args.uuid) {
        (_, Some(uuid)) => dm.set_uuid(&id, &name::device_uuid(uuid)?)?,
        (Some(name), None) => dm.rename(&id, &name::new_device_name(name)?)?,
        (None, None) => usage("no new name is given"),
    };
    Ok(())
}

pub fn remove(dm: &Dm, args: &Remove) -> Result<(), Failed> {
    let options = RemoveOptions {
        force: args.force,
        retry: args.retry || args.force,
        deferred: args.deferred,
    };
    for id in some_devices(dm, &args.devices)? {
        dm.remove(&id, options)?;
    }
    Ok(())
}

pub fn make_nodes(dm: &Dm, args: &Devices, out: &mut Output) -> Result<(), Failed> {
    let shown = all_or_some(dm, args)?;
    let given = !args.devices.is_empty() || args.selector.is_given();
    let done = dm.make_nodes(given.then_some(&shown.ids[..]))?;
    if out.json {
        out.document(&json!({ "made": done.made, "removed": done.removed }))?;
        return Ok(());
    }
    for path in done.made {
        writeln!(out, "made {}", path.display())?;
    }
    for path in done.removed {
        writeln!(out, "removed {}", path.display())?;
    }
    Ok(())
}

pub fn wait(dm: &Dm, args: &Wait, out: &mut Output) -> Result<(), Failed> {
    let id = dm.find(&args.device)?;
    let info = dm.wait(&id, args.event, args.no_flush)?;
    let name = info.shown_name();
    match out.json {
        true => out.document(&json!({ "name": name, "event_nr": info.event_nr }))?,
        false => writeln!(out, "{name}: event {}", info.event_nr)?,
    }
    Ok(())
}

pub fn message(
    args: &Message,
    open: impl FnOnce() -> Result<Dm, Error>,
    out: &mut Output,
) -> Result<(), Failed> {
    let selected = super::selected(&args.selector)?;
    let (device, words) = match (&selected, args.words.split_first()) {
        (None, Some((device, words))) => (device.as_str(), words),
        _ => ("", &args.words[..]),
    };
    let (sector, text) = match words.split_first() {
        Some((sector, text)) if !text.is_empty() => (sector, Zeroizing::new(text.join(" "))),
        _ => usage("no message is given: it follows the device and the sector"),
    };
    let Ok(sector) = sector.parse() else {
        usage(&format!(
            "the sector '{sector}' must be a whole number of 512-byte sectors"
        ));
    };
    let dm = open()?;
    let id = match selected {
        Some(id) => id,
        None => dm.find(device)?,
    };
    let answer = dm.message(&id, sector, &text)?;
    if out.json {
        out.document(&json!({ "answer": answer }))?;
    } else if let Some(answer) = answer {
        let end = if answer.ends_with('\n') { "" } else { "\n" };
        write!(out, "{answer}{end}")?;
    }
    Ok(())
}
