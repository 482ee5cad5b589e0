// SPDX-License-Identifier: GPL-2.0

//! The command-line tool: see `dmrs --help`.

mod cli;

use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
};

use clap::{error::ErrorKind, CommandFactory, Parser};
use dmrs::{
    name, Access, Device, DeviceId, Dm, Error, Info, NewDevice, RemoveOptions, Slot,
    SuspendOptions, Table, UdevSync,
};
use zeroize::Zeroizing;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match run(&cli, &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Failed::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failed) => {
            // What came before the failure comes before its message.
            let _ = out.flush();
            eprintln!("dmrs: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Dm(#[from] Error),
    #[error("cannot write the output: {0}\n  see where standard output goes")]
    Output(#[from] io::Error),
}

impl From<name::NameError> for Failed {
    fn from(error: name::NameError) -> Failed {
        Failed::Dm(error.into())
    }
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<(), Failed> {
    let open = || {
        Dm::open(match cli.no_udev_sync {
            true => UdevSync::Never,
            false => UdevSync::IfRunning,
        })
    };
    match &cli.command {
        Command::Create(args) => create(args, open)?,
        Command::Load(args) => load(args, open)?,
        Command::Clear(args) => {
            let dm = open()?;
            for id in some_devices(&dm, &args.devices, &args.selector)? {
                dm.clear(&id)?;
            }
        }
        Command::Suspend(args) => {
            let dm = open()?;
            for id in some_devices(&dm, &args.devices.devices, &args.devices.selector)? {
                dm.suspend(&id, suspend_options(args))?;
            }
        }
        Command::Resume(args) => {
            let dm = open()?;
            for id in some_devices(&dm, &args.devices.devices, &args.devices.selector)? {
                dm.resume(&id, suspend_options(args))?;
            }
        }
        Command::Remove(args) => {
            let options = RemoveOptions {
                force: args.force,
                retry: args.retry,
                deferred: args.deferred,
            };
            let dm = open()?;
            for id in some_devices(&dm, &args.devices.devices, &args.devices.selector)? {
                dm.remove(&id, options)?;
            }
        }
        Command::Table(args) => {
            let dm = open()?;
            let table = |id: &DeviceId| dm.table(id, slot(args.inactive));
            show_tables(
                &dm,
                &args.devices,
                args.target.as_deref(),
                args.show_keys,
                out,
                table,
            )?;
        }
        Command::Status(args) => {
            let dm = open()?;
            let status = |id: &DeviceId| dm.status(id, slot(args.inactive), args.no_flush);
            // A status has no keys, and zeros in it would be wrong.
            let show_keys = true;
            show_tables(
                &dm,
                &args.devices,
                args.target.as_deref(),
                show_keys,
                out,
                status,
            )?;
        }
        Command::Info(args) => {
            let dm = open()?;
            for id in all_or_some(&dm, &args.devices, out)?.ids {
                show_info(&dm.info(&id, slot(args.inactive))?, out)?;
            }
        }
        Command::Ls(args) => list(&open()?, args.target.as_deref(), out)?,
        Command::Targets => {
            for target in open()?.targets()? {
                let [major, minor, patch] = target.version;
                writeln!(out, "{:<16} v{major}.{minor}.{patch}", target.name)?;
            }
        }
        Command::Message(args) => message(args, open, out)?,
        Command::Version => {
            let [major, minor, patch] = open()?.version()?;
            writeln!(out, "Tool version:      {}", env!("CARGO_PKG_VERSION"))?;
            writeln!(out, "Driver version:    {major}.{minor}.{patch}")?;
        }
    }
    Ok(())
}

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

fn access(read_only: bool) -> Access {
    match read_only {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    }
}

fn suspend_options(args: &cli::Suspend) -> SuspendOptions {
    SuspendOptions {
        no_flush: args.no_flush,
        no_lock_fs: args.no_lock_fs,
    }
}

fn number(major: Option<u32>, minor: Option<u32>) -> Option<Device> {
    Some(Device {
        major: major?,
        minor: minor?,
    })
}

fn selected(selector: &cli::Selector) -> Result<Option<DeviceId>, Failed> {
    if let Some(uuid) = &selector.uuid {
        return Ok(Some(DeviceId::Uuid(name::device_uuid(uuid)?)));
    }
    Ok(number(selector.major, selector.minor).map(DeviceId::Number))
}

/// The devices that the command line names.
fn some_devices(
    dm: &Dm,
    devices: &[String],
    selector: &cli::Selector,
) -> Result<Vec<DeviceId>, Failed> {
    if let Some(id) = selected(selector)? {
        return Ok(vec![id]);
    }
    let ids: Result<_, Error> = devices.iter().map(|text| dm.find(text)).collect();
    Ok(ids?)
}

struct Shown {
    ids: Vec<DeviceId>,
    /// Whether each line is to say whose it is.
    with_names: bool,
}

/// The devices that the command line names, or else all.
fn all_or_some(dm: &Dm, args: &cli::Devices, out: &mut dyn Write) -> Result<Shown, Failed> {
    if !args.devices.is_empty() || args.selector.is_given() {
        let ids = some_devices(dm, &args.devices, &args.selector)?;
        let with_names = ids.len() > 1;
        return Ok(Shown { ids, with_names });
    }
    let ids: Vec<_> = dm
        .list()?
        .into_iter()
        .map(|listed| DeviceId::Number(listed.device))
        .collect();
    if ids.is_empty() {
        writeln!(out, "No devices found")?;
    }
    Ok(Shown {
        ids,
        with_names: true,
    })
}

fn create(args: &cli::Create, open: impl FnOnce() -> Result<Dm, Error>) -> Result<(), Failed> {
    let new = NewDevice {
        name: name::new_device_name(&args.name)?,
        uuid: args.uuid.as_deref().map(name::device_uuid).transpose()?,
        number: number(args.major, args.minor),
    };
    let dm = open()?;
    if args.no_table {
        dm.create(&new, None)?;
    } else {
        let table = read_table(&args.table, args.file.as_deref())?;
        dm.create(&new, Some((&table, access(args.read_only))))?;
    }
    Ok(())
}

fn load(args: &cli::Load, open: impl FnOnce() -> Result<Dm, Error>) -> Result<(), Failed> {
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
    let table = read_table(&args.table, file)?;
    Ok(dm.load(&id, &table, access(args.read_only))?)
}

/// The table from the command line, a file, or standard input.
fn read_table(given: &[String], file: Option<&Path>) -> Result<Table, Error> {
    let (origin, text) = if !given.is_empty() {
        let text = Zeroizing::new(given.join("\n"));
        ("the table of --table".to_owned(), Ok(text))
    } else {
        match file.filter(|path| *path != Path::new("-")) {
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
        }
    };
    match text {
        Err(source) => Err(Error::ReadTable { origin, source }),
        Ok(text) => Table::parse(&text).map_err(|source| Error::Table { origin, source }),
    }
}

fn show_tables(
    dm: &Dm,
    devices: &cli::Devices,
    target: Option<&str>,
    show_keys: bool,
    out: &mut dyn Write,
    get: impl Fn(&DeviceId) -> dmrs::Result<(Info, Table)>,
) -> Result<(), Failed> {
    let shown = all_or_some(dm, devices, out)?;
    for id in &shown.ids {
        let (info, table) = get(id)?;
        let prefix = match shown.with_names {
            true => format!("{}: ", info.shown_name()),
            false => String::new(),
        };
        if table.targets.is_empty() && target.is_none() {
            writeln!(out, "{prefix}")?;
        }
        for line in table.targets {
            if target.is_some_and(|target| target != line.name) {
                continue;
            }
            match show_keys {
                true => writeln!(out, "{prefix}{}", *line.line_with_keys())?,
                false => writeln!(out, "{prefix}{line}")?,
            }
        }
    }
    Ok(())
}

fn show_info(info: &Info, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Name:              {}", info.shown_name())?;
    writeln!(
        out,
        "State:             {}{}{}",
        match info.suspended {
            true => "SUSPENDED",
            false => "ACTIVE",
        },
        match info.read_only {
            true => " (READ-ONLY)",
            false => "",
        },
        match info.deferred_remove {
            true => " (DEFERRED REMOVE)",
            false => "",
        },
    )?;
    if let Some(sectors) = info.read_ahead() {
        writeln!(out, "Read Ahead:        {sectors}")?;
    }
    let tables = match (info.live_table, info.inactive_table) {
        (false, false) => "None",
        (true, false) => "LIVE",
        (false, true) => "INACTIVE",
        (true, true) => "LIVE & INACTIVE",
    };
    writeln!(out, "Tables present:    {tables}")?;
    writeln!(out, "Open count:        {}", info.open_count)?;
    writeln!(out, "Event number:      {}", info.event_nr)?;
    let Device { major, minor } = info.device;
    writeln!(out, "Major, minor:      {major}, {minor}")?;
    writeln!(out, "Number of targets: {}", info.target_count)?;
    if let Some(uuid) = &info.uuid {
        writeln!(out, "UUID: {}", name::show_uuid(uuid))?;
    }
    writeln!(out)
}

fn list(dm: &Dm, target: Option<&str>, out: &mut dyn Write) -> Result<(), Failed> {
    let devices = dm.list()?;
    if devices.is_empty() {
        writeln!(out, "No devices found")?;
    }
    for listed in devices {
        let shown = name::show_name(&listed.name);
        let Device { major, minor } = listed.device;
        match target {
            None => writeln!(out, "{shown}\t({major}:{minor})")?,
            Some(target) => {
                let (_, status) = dm.status(&DeviceId::Number(listed.device), Slot::Live, true)?;
                if status.targets.iter().any(|line| line.name == target) {
                    // dmsetup writes the number like this here.
                    writeln!(out, "{shown}\t({major}, {minor})")?;
                }
            }
        }
    }
    Ok(())
}

fn message(
    args: &cli::Message,
    open: impl FnOnce() -> Result<Dm, Error>,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let selected = selected(&args.selector)?;
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
    if let Some(answer) = dm.message(&id, sector, &text)? {
        let end = if answer.ends_with('\n') { "" } else { "\n" };
        write!(out, "{answer}{end}")?;
    }
    Ok(())
}
