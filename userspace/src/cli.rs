// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "dmrs",
    version,
    about = "Loads, shows and changes device-mapper tables",
    after_help = "\
A table has one line per target: START LENGTH TARGET ARGUMENTS..., with start and length in \
sectors of 512 bytes. Blank lines are skipped, and '#' begins a comment. It is read from standard \
input if neither --table nor a file is given.

A DEVICE is a name, MAJOR:MINOR, or the path of a node such as /dev/mapper/NAME or /dev/dm-0.

Exit codes: 0 if all went well, 1 if something failed, 2 if the command line is wrong.
DM_DISABLE_UDEV in the environment has the effect of --noudevsync.",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Do not wait for udev; make and remove nodes in /dev/mapper here
    #[arg(long = "noudevsync", global = true)]
    pub no_udev_sync: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a device, with a live table
    Create(Create),
    /// Put a table into a device's inactive slot; 'resume' makes it live
    #[command(visible_alias = "reload")]
    Load(Load),
    /// Empty a device's inactive slot
    Clear(SomeDevices),
    /// Hold back I/O
    Suspend(Suspend),
    /// Make the inactive table live if there is one, and let I/O go on
    Resume(Suspend),
    /// Remove devices
    Remove(Remove),
    /// Show tables
    Table(Table),
    /// Show what the targets say of their state
    Status(Status),
    /// Show the state of devices
    Info(Info),
    /// List the devices
    Ls(Ls),
    /// List the targets that the kernel has at present
    Targets,
    /// Send a message to a target
    Message(Message),
    /// Show the versions of this tool and of the kernel's interface
    Version,
}

/// How to name one device other than by its name.
#[derive(Debug, Args)]
pub struct Selector {
    /// The device with this UUID
    #[arg(short, long, conflicts_with_all = ["major", "minor"])]
    pub uuid: Option<String>,
    /// The device with this major number
    #[arg(short = 'j', long, requires = "minor")]
    pub major: Option<u32>,
    /// The device with this minor number
    #[arg(short = 'm', long, requires = "major")]
    pub minor: Option<u32>,
}

impl Selector {
    pub fn is_given(&self) -> bool {
        self.uuid.is_some() || self.major.is_some()
    }
}

#[derive(Debug, Args)]
pub struct Devices {
    /// Names, numbers or paths of devices
    #[arg(value_name = "DEVICE", conflicts_with_all = ["uuid", "major", "minor"])]
    pub devices: Vec<String>,
    #[command(flatten)]
    pub selector: Selector,
}

/// Like [`Devices`], where there must be one.
#[derive(Debug, Args)]
pub struct SomeDevices {
    /// Names, numbers or paths of devices
    #[arg(
        value_name = "DEVICE",
        required_unless_present_any = ["uuid", "major"],
        conflicts_with_all = ["uuid", "major", "minor"]
    )]
    pub devices: Vec<String>,
    #[command(flatten)]
    pub selector: Selector,
}

#[derive(Debug, Args)]
pub struct Create {
    /// The new device's name
    pub name: String,
    /// The file that has the table ('-' is standard input)
    #[arg(conflicts_with_all = ["table", "no_table"])]
    pub file: Option<PathBuf>,
    /// The table, or a part of it: may have several lines and be given several times
    #[arg(long, value_name = "TABLE", conflicts_with = "no_table")]
    pub table: Vec<String>,
    /// Load no table: the device stays suspended
    #[arg(short, long = "notable", conflicts_with = "read_only")]
    pub no_table: bool,
    /// Let the device be read only
    #[arg(short, long = "readonly")]
    pub read_only: bool,
    /// Give the device this UUID
    #[arg(short, long)]
    pub uuid: Option<String>,
    /// Give the device this major number, which must be device-mapper's
    #[arg(short = 'j', long, requires = "minor")]
    pub major: Option<u32>,
    /// Give the device this minor number
    #[arg(short = 'm', long, requires = "major")]
    pub minor: Option<u32>,
}

#[derive(Debug, Args)]
#[command(override_usage = "dmrs load [OPTIONS] DEVICE [FILE]\n       \
    dmrs load [OPTIONS] --uuid UUID [FILE]\n       \
    dmrs load [OPTIONS] --major MAJOR --minor MINOR [FILE]")]
pub struct Load {
    /// The device's name, number or path
    #[arg(required_unless_present_any = ["uuid", "major"])]
    pub device: Option<String>,
    /// The file that has the table ('-' is standard input)
    #[arg(conflicts_with_all = ["table", "uuid", "major"])]
    pub file: Option<PathBuf>,
    /// The table, or a part of it: may have several lines and be given several times
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Let the table's device be read only
    #[arg(short, long = "readonly")]
    pub read_only: bool,
    #[command(flatten)]
    pub selector: Selector,
}

#[derive(Debug, Args)]
pub struct Suspend {
    #[command(flatten)]
    pub devices: SomeDevices,
    /// Do not wait for I/O that targets hold back
    #[arg(long = "noflush")]
    pub no_flush: bool,
    /// Do not freeze a file system that is on the device
    #[arg(long = "nolockfs")]
    pub no_lock_fs: bool,
}

#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    pub devices: SomeDevices,
    /// First put a table in place that fails all I/O
    #[arg(short, long)]
    pub force: bool,
    /// While a device is in use, try again for 5 seconds
    #[arg(long)]
    pub retry: bool,
    /// If a device is in use, let the kernel remove it once it is free
    #[arg(long)]
    pub deferred: bool,
}

#[derive(Debug, Args)]
pub struct Table {
    #[command(flatten)]
    pub devices: Devices,
    /// Show inactive tables
    #[arg(long)]
    pub inactive: bool,
    /// Show keys, in the place of which there are zeros otherwise
    #[arg(long = "showkeys")]
    pub show_keys: bool,
    /// Show lines with this target only
    #[arg(long)]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub devices: Devices,
    /// Show the status of inactive tables
    #[arg(long)]
    pub inactive: bool,
    /// Do not have targets write out their metadata first
    #[arg(long = "noflush")]
    pub no_flush: bool,
    /// Show lines with this target only
    #[arg(long)]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    pub devices: Devices,
    /// Count the targets of inactive tables
    #[arg(long)]
    pub inactive: bool,
}

#[derive(Debug, Args)]
pub struct Ls {
    /// List devices that have this target only
    #[arg(long)]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "dmrs message [OPTIONS] DEVICE SECTOR MESSAGE...\n       \
    dmrs message [OPTIONS] --uuid UUID SECTOR MESSAGE...\n       \
    dmrs message [OPTIONS] --major MAJOR --minor MINOR SECTOR MESSAGE..."
)]
pub struct Message {
    /// The device's name, number or path; the sector (of 512 bytes) whose target is meant; the
    /// words of the message
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub selector: Selector,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn accepts(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(accepts("dmrs create a file"));
        assert!(!accepts("dmrs create a file --table 0"));
        assert!(!accepts("dmrs create a --notable --table 0"));
        assert!(!accepts("dmrs create a --notable --readonly"));
        assert!(!accepts("dmrs create a --minor 3"));
        assert!(accepts("dmrs create a --major 253 --minor 3 -n"));
        assert!(accepts("dmrs remove -u x"));
        assert!(!accepts("dmrs remove"));
        assert!(accepts("dmrs table"));
        assert!(!accepts("dmrs remove a -u x"));
        assert!(!accepts("dmrs load"));
        assert!(accepts("dmrs load a file"));
        assert!(accepts("dmrs reload -u x file"));
        assert!(!accepts("dmrs load -u x file other"));
        assert!(!accepts("dmrs message a"));
    }

    #[test]
    fn words_of_a_message_are_no_options() {
        let message = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Message(message) => (message.selector.uuid, message.words.join(" ")),
            other => panic!("{other:?}"),
        };
        let (uuid, words) = message("dmrs message -u x 0 key -u y");
        assert_eq!((uuid.as_deref(), words.as_str()), (Some("x"), "0 key -u y"));
        let (uuid, words) = message("dmrs message disk 0 -1");
        assert_eq!((uuid.as_deref(), words.as_str()), (None, "disk 0 -1"));
    }
}
