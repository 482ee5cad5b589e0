// SPDX-License-Identifier: GPL-2.0

//! The commands, and what they have in common.

pub mod change;
pub mod check;
pub mod create;
pub mod diff;
pub mod generate;
pub mod list;
pub mod powercut;
pub mod show;
pub mod stat;
pub mod swap;

use clap::{error::ErrorKind, CommandFactory};
use dmrs::{name, Device, DeviceId, Dm, Error, Slot};

use crate::{
    cli::{Cli, Devices, Selector, SomeDevices},
    failed::Failed,
};

/// Ends the program with a usage error, of which clap knows the form.
fn usage(message: &str) -> ! {
    Cli::command()
        .error(ErrorKind::MissingRequiredArgument, message)
        .exit()
}

fn slot(inactive: bool) -> Slot {
    match inactive {
        true => Slot::Inactive,
        false => Slot::Live,
    }
}

fn number(major: Option<u32>, minor: Option<u32>) -> Option<Device> {
    Some(Device {
        major: major?,
        minor: minor?,
    })
}

fn selected(selector: &Selector) -> Result<Option<DeviceId>, Failed> {
    if let Some(uuid) = &selector.uuid {
        return Ok(Some(DeviceId::Uuid(name::device_uuid(uuid)?)));
    }
    Ok(number(selector.major, selector.minor).map(DeviceId::Number))
}

/// The devices that the command line names.
fn named(dm: &Dm, devices: &[String], selector: &Selector) -> Result<Vec<DeviceId>, Failed> {
    if let Some(id) = selected(selector)? {
        return Ok(vec![id]);
    }
    let ids: Result<_, Error> = devices.iter().map(|text| dm.find(text)).collect();
    Ok(ids?)
}

fn some_devices(dm: &Dm, args: &SomeDevices) -> Result<Vec<DeviceId>, Failed> {
    named(dm, &args.devices, &args.selector)
}

/// The devices that the command line names, or else all.
struct Shown {
    ids: Vec<DeviceId>,
    /// Whether each line is to say whose it is.
    with_names: bool,
}

fn all_or_some(dm: &Dm, args: &Devices) -> Result<Shown, Failed> {
    if !args.devices.is_empty() || args.selector.is_given() {
        let ids = named(dm, &args.devices, &args.selector)?;
        let with_names = ids.len() > 1;
        return Ok(Shown { ids, with_names });
    }
    Ok(Shown {
        ids: all(dm)?,
        with_names: true,
    })
}

fn all(dm: &Dm) -> Result<Vec<DeviceId>, Failed> {
    let listed = dm.list()?.into_iter();
    Ok(listed.map(|l| DeviceId::Number(l.device)).collect())
}
