// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "dmrs",
    version,
    about = "Loads, shows and changes device-mapper tables",
    after_help = AFTER_HELP,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Print JSON: one document, or for 'stat' one in each line; errors too, on standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// Do not wait for udev; make and remove nodes in /dev/mapper here
    #[arg(long = "noudevsync", global = true)]
    pub no_udev_sync: bool,

    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A table has one line per target: START LENGTH TARGET ARGUMENTS..., with start and length in \
sectors of 512 bytes. Blank lines are skipped, and '#' begins a comment. It is read from standard \
input if neither --table nor a file is given. Before a table is loaded it is checked, as by 'check'.

A DEVICE is a name, MAJOR:MINOR, or the path of a node such as /dev/mapper/NAME or /dev/dm-0.

Exit codes:
  0  all went well
  1  something failed
  2  the command line is wrong
  3  there is no such device
  4  only root may do that
  5  the device, its name or its UUID is in use
  6  the table is wrong (found by 'check', or before it was loaded)
  7  the devices differ ('diff')

NO_COLOR in the environment keeps the output from being coloured, as does any output that is no \
terminal. DM_DISABLE_UDEV has the effect of --noudevsync.";

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
    /// Give a device another name, or a UUID
    Rename(Rename),
    /// Remove devices
    Remove(Remove),
    /// Show tables
    Table(Table),
    /// Show what the targets say of their state
    Status(Status),
    /// Show the state of devices, and who uses them
    Info(Info),
    /// Show which devices the tables use
    Deps(Deps),
    /// List the devices
    Ls(Ls),
    /// List the targets that the kernel has at present
    Targets,
    /// Send a message to a target
    Message(Message),
    /// Cut the power of a simulated disk (the target rust-powercut), and give it back
    Powercut(Powercut),
    /// Wait for an event of a device's targets
    Wait(Wait),
    /// Make the nodes in /dev/mapper that are missing, and remove those of devices that are gone
    Mknodes(Devices),
    /// Find what is wrong with a table, without loading it
    Check(Check),
    /// Exchange a live device's in-tree targets for those written in Rust, or back
    Swap(Swap),
    /// Compare two devices: their tables, their limits, and what is on them
    Diff(Diff),
    /// Show the I/O of devices, by target, as it happens
    Stat(Stat),
    /// Show the versions of this tool and of the kernel's interface
    Version,
    /// Write the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory
        directory: PathBuf,
    },
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
#[command(override_usage = "dmrs create [OPTIONS] NAME [FILE]\n       \
    dmrs create [OPTIONS] --concise [DEVICES]")]
pub struct Create {
    /// The new device's name
    #[arg(required_unless_present = "concise")]
    pub name: Option<String>,
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
    /// Make all devices of NAME,UUID,MINOR,FLAGS,TABLE[,TABLE...][;NAME,...], or none: FLAGS is ro
    /// or rw; read from standard input if not given here
    #[arg(
        long,
        value_name = "DEVICES",
        num_args = 0..=1,
        conflicts_with_all = ["name", "file", "table", "no_table", "read_only", "uuid", "major"]
    )]
    pub concise: Option<Option<String>>,
    /// Let the kernel alone judge the table
    #[arg(long = "nocheck")]
    pub no_check: bool,
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
    /// Let the kernel alone judge the table
    #[arg(long = "nocheck")]
    pub no_check: bool,
    #[command(flatten)]
    pub selector: Selector,
}

#[derive(Debug, Args)]
pub struct Rename {
    /// The device's name, number or path
    pub device: String,
    /// Its new name
    #[arg(required_unless_present = "uuid")]
    pub name: Option<String>,
    /// Give it this UUID instead of another name, if it has none
    #[arg(long = "setuuid", value_name = "UUID", conflicts_with = "name")]
    pub uuid: Option<String>,
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
    /// First put a table in place that fails all I/O; then as with --retry
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
    /// Show all on one line, which 'create --concise' takes
    #[arg(long, conflicts_with_all = ["target", "inactive"])]
    pub concise: bool,
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
pub struct Deps {
    #[command(flatten)]
    pub devices: Devices,
    /// Show the devices of inactive tables
    #[arg(long)]
    pub inactive: bool,
}

#[derive(Debug, Args)]
pub struct Ls {
    /// List devices that have this target only
    #[arg(long)]
    pub target: Option<String>,
    /// Show what stands on what
    #[arg(long)]
    pub tree: bool,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// The device's name, number or path
    pub device: String,
    /// Wait until the event number ('info' shows it) is greater than this
    #[arg(default_value_t = 0)]
    pub event: u32,
    /// Do not have targets write out their metadata first
    #[arg(long = "noflush")]
    pub no_flush: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The file that has the table ('-' is standard input)
    #[arg(conflicts_with = "table")]
    pub file: Option<PathBuf>,
    /// The table, or a part of it: may have several lines and be given several times
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Check it as the table of a device that can only be read
    #[arg(short, long = "readonly")]
    pub read_only: bool,
    /// Check it as the table of this device
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The new table is loaded beside the live one, and one request lets the kernel finish the I/O that is \
under way, exchange the tables, and go on. If a step fails, or this is interrupted or killed, the \
device runs on with the table that it had. What a kill may leave, a table in the inactive slot, the \
next swap finds and removes.

Keys go from one table to the other without being shown. A LUKS mapping whose key is in a keyring \
('table' shows it as :SIZE:logon:NAME) is refused by the kernel with ENOKEY, since that key is gone \
once cryptsetup has ended: run 'cryptsetup refresh --disable-keyring NAME' before.")]
pub struct Swap {
    /// The device's name, number or path
    pub device: String,
    /// Which of the twins it is to have
    #[arg(long)]
    pub to: Language,
    /// Show the table before and after, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// The targets of this project
    Rust,
    /// The in-tree targets
    C,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// A device: as elsewhere, or the path of any block device
    pub a: String,
    /// The device that it is compared with
    pub b: String,
    /// Do not compare what is on them
    #[arg(long)]
    pub no_data: bool,
    /// Compare what is on this range only, in sectors of 512 bytes
    #[arg(long, value_name = "START+LENGTH", value_parser = range, conflicts_with = "no_data")]
    pub range: Option<(u64, u64)>,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse().map_err(|_| format!("'{text}' is no number"));
    let (start, length) = text.split_once('+').ok_or("give START+LENGTH")?;
    let (start, length): (u64, u64) = (number(start)?, number(length)?);
    start
        .checked_add(length)
        .and_then(|end| end.checked_mul(512))
        .ok_or("it ends beyond any device")?;
    Ok((start, length))
}

#[derive(Debug, Args)]
pub struct Stat {
    /// Names, numbers or paths of devices; all, if none is given
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<String>,
    /// How long is counted at a time, in seconds
    #[arg(short, long, default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// End after so many times
    #[arg(short, long)]
    pub count: Option<u64>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if interval >= Duration::from_millis(10) => Ok(interval),
        _ => Err("give 0.01 seconds or more".to_owned()),
    }
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

#[derive(Debug, Args)]
#[command(after_help = "\
What was not flushed is kept, dropped or torn by the seed in the device's table; all I/O fails until \
the power is back. COMMAND is run by the shell after that, with the device's path in $DEVICE; if it \
ends with another status than 0, so does this, with the seed and the number of the cut. What is \
mounted has to be unmounted by COMMAND, and mounted again.

To see a failure again: a new device with the same table, the same requests, and the cut at the same \
write ('--after').")]
pub struct Powercut {
    /// The device's name, number or path
    pub device: String,
    /// Do so that many times, until the check fails
    #[arg(long = "loop", value_name = "N", default_value_t = 1)]
    pub times: u64,
    /// Run this after each cut
    #[arg(long, value_name = "COMMAND")]
    pub check: Option<String>,
    /// Cut the power not now, but at the Nth write from now on; waits for that
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub after: Option<u64>,
    /// Leave the power off
    #[arg(long, conflicts_with_all = ["times", "check"])]
    pub leave_off: bool,
}

#[cfg(test)]
mod tests;
