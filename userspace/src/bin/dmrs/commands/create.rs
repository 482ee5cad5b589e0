// SPDX-License-Identifier: GPL-2.0

//! Commands that load tables.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

use dmrs::{
    check::{LiveSystem, Purpose},
    concise, name, Access, Device, DeviceId, Dm, Error, NewDevice, RemoveOptions, Slot, Source,
    Table,
};
use zeroize::Zeroizing;

use super::{check, number, selected, usage};
use crate::{
    cli::{Create, Load},
    failed::Failed,
};

fn access(read_only: bool) -> Access {
    match read_only {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    }
}

pub fn create(
    args: &Create,
    open: impl FnOnce() -> Result<Dm, Error>,
    json: bool,
) -> Result<(), Failed> {
    if let Some(devices) = &args.concise {
        return create_concise(devices.as_deref(), args.no_check, open, json);
    }
    let Some(name) = &args.name else {
        usage("no name is given");
    };
    let new = NewDevice {
        name: name::new_device_name(name)?,
        uuid: args.uuid.as_deref().map(name::device_uuid).transpose()?,
        number: number(args.major, args.minor),
    };
    let dm = open()?;
    if args.no_table {
        dm.create(&new, None)?;
        return Ok(());
    }
    let text = Text::read(&args.table, args.file.as_deref())?;
    let purpose = Purpose {
        device: None,
        read_only: args.read_only,
    };
    let table = text.table((!args.no_check).then_some((&dm, &purpose)), json)?;
    dm.create(&new, Some((&table, access(args.read_only))))?;
    Ok(())
}

/// Makes all of the devices, or none.
fn create_concise(
    devices: Option<&str>,
    no_check: bool,
    open: impl FnOnce() -> Result<Dm, Error>,
    json: bool,
) -> Result<(), Failed> {
    let dm = open()?;
    let text = match devices {
        Some(devices) => Text {
            origin: "--concise".to_owned(),
            text: Zeroizing::new(devices.to_owned()),
        },
        None => Text::read(&[], None)?,
    };
    let parsed = match concise::parse(&text.text) {
        Ok(parsed) => parsed,
        Err(error) => return Err(check::concise_error(&text, &error, json)),
    };
    let major = dm_major();
    let mut made: Vec<DeviceId> = Vec::new();
    let mut make = || -> Result<(), Failed> {
        for device in &parsed {
            let new = NewDevice {
                name: name::new_device_name(&device.name)?,
                uuid: device.uuid.as_deref().map(name::device_uuid).transpose()?,
                number: device.minor.map(|minor| Device { major, minor }),
            };
            let purpose = Purpose {
                device: None,
                read_only: device.read_only,
            };
            // Later ones may stand on earlier ones, so each is checked when its turn comes.
            let table = Text {
                origin: format!("{} of {}", device.name, text.origin),
                text: device.table.clone(),
            };
            let table = table.table((!no_check).then_some((&dm, &purpose)), json)?;
            let info = dm.create(&new, Some((&table, access(device.read_only))))?;
            made.push(DeviceId::Number(info.device));
        }
        Ok(())
    };
    let result = make();
    if result.is_err() {
        for id in made.iter().rev() {
            // What failed before is what there is to tell.
            let _ = dm.remove(id, RemoveOptions::default());
        }
    }
    result
}

/// Device-mapper's major number. The kernel looks at the minor number only.
fn dm_major() -> u32 {
    let devices = fs::read_to_string("/proc/devices").unwrap_or_default();
    let line = devices
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .find(|(_, name)| *name == "device-mapper");
    line.and_then(|(major, _)| major.parse().ok()).unwrap_or(0)
}

pub fn load(
    args: &Load,
    open: impl FnOnce() -> Result<Dm, Error>,
    json: bool,
) -> Result<(), Failed> {
    let dm = open()?;
    let (id, file) = match (selected(&args.selector)?, &args.device) {
        // Without a name, what comes first is the file.
        (Some(id), file) => (id, file.as_deref().map(Path::new)),
        (None, Some(device)) => (dm.find(device)?, args.file.as_deref()),
        (None, None) => usage("no device is given"),
    };
    if file.is_some() && !args.table.is_empty() {
        usage("a table is given by --table and by a file: give one of them");
    }
    let text = Text::read(&args.table, file)?;
    let purpose = Purpose {
        device: Some(dm.info(&id, Slot::Live)?.device),
        read_only: args.read_only,
    };
    let table = text.table((!args.no_check).then_some((&dm, &purpose)), json)?;
    Ok(dm.load(&id, &table, access(args.read_only))?)
}

/// The text of a table, and where it came from.
pub struct Text {
    pub origin: String,
    pub text: Zeroizing<String>,
}

impl Text {
    /// From the command line, a file, or standard input.
    pub fn read(given: &[String], file: Option<&Path>) -> Result<Text, Error> {
        if !given.is_empty() {
            return Ok(Text {
                origin: "--table".to_owned(),
                text: Zeroizing::new(given.join("\n")),
            });
        }
        let (origin, text) = match file.filter(|path| *path != Path::new("-")) {
            Some(path) => (
                path.display().to_string(),
                fs::read_to_string(path).map(Zeroizing::new),
            ),
            None => {
                if io::stdin().is_terminal() {
                    eprintln!(
                        "Type the table, one line 'START LENGTH TARGET ARGUMENTS' per target, \
                         and end it with Ctrl-D:"
                    );
                }
                let mut text = Zeroizing::new(String::new());
                let read = io::stdin().read_to_string(&mut text);
                ("standard input".to_owned(), read.map(|_| text))
            }
        };
        match text {
            Ok(text) => Ok(Text { origin, text }),
            Err(source) => Err(Error::ReadTable { origin, source }),
        }
    }

    /// What can be shown of it, byte by byte.
    pub fn without_keys(&self) -> String {
        Source::parse(&self.text).without_keys(&self.text)
    }

    /// The table; what is found wrong with it is shown, and ends the command.
    fn table(&self, check: Option<(&Dm, &Purpose)>, json: bool) -> Result<Table, Failed> {
        if let Some((dm, purpose)) = check {
            let findings = dmrs::check::check(&self.text, &LiveSystem::new(Some(dm)), purpose);
            check::refuse(self, &findings, json)?;
        }
        let table = Table::parse(&self.text).map_err(|source| Error::Table {
            origin: self.origin.clone(),
            source,
        })?;
        Ok(table)
    }
}
