// SPDX-License-Identifier: GPL-2.0

//! What can go wrong, said so that a person knows what to do next.

use std::{fmt, io, path::PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::{holders::Holder, name::NameError, table::TableError};

/// The result of everything in this crate that talks to the kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The control device may not be opened or used.
    #[error("device-mapper may only be used by root: run it again as root, for example with sudo")]
    NotRoot,
    /// There is no control device.
    #[error(
        "cannot open {}: {source}\n  device-mapper is not there: load it with 'modprobe dm_mod'",
        path.display()
    )]
    NoControl {
        /// The control device.
        path: PathBuf,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// No device goes by this name, UUID, number or path.
    #[error("there is no device-mapper device {0}: 'dmrs ls' lists those that there are")]
    NoSuchDevice(String),
    /// A name or UUID that no device can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text that is no table.
    #[error("{origin}: {source}")]
    Table {
        /// Where the text came from.
        origin: String,
        /// What is wrong with it.
        source: TableError,
    },
    /// A table that cannot be read.
    #[error(
        "cannot read the table from {origin}: {source}\n  {}",
        read_hint(source)
    )]
    ReadTable {
        /// Where it should have come from.
        origin: String,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// Targets that have no twin to be swapped for.
    #[error(
        "{device} is not swapped: there is no twin of {}\n  if one should be there, load the module \
         that has it ('dmrs targets' lists what the kernel has)",
        targets.join(", ")
    )]
    NoTwin {
        /// The device.
        device: String,
        /// The targets' names.
        targets: Vec<String>,
    },
    /// A device that cannot be swapped at present, and why.
    #[error("{0} is not swapped: {1}")]
    NotSwappable(String, &'static str),
    /// A swap that failed and could not be undone.
    #[error("{cause}\n  and {device} could not be left as it was: {left}")]
    SwapStuck {
        /// The device.
        device: String,
        /// What to do.
        left: String,
        /// Why the swap failed.
        cause: Box<Error>,
    },
    /// The kernel's answer cannot be understood.
    #[error(
        "the kernel's answer to '{0}' is not of the form that its interface promises: \
         report it, with the version of the kernel"
    )]
    Malformed(Action),
    /// The device was changed, but udev cannot be waited for.
    #[error(
        "cannot wait for udev: {0}\n  see that systemd-udevd runs ('udevadm control --ping'), or \
         do without it with --noudevsync"
    )]
    Udev(String),
    /// The node in `/dev/mapper` cannot be made or removed.
    #[error(
        "cannot {verb} {}: {source}\n  see what is there, and move away what is not \
         device-mapper's",
        path.display()
    )]
    Node {
        /// What was to be done with it.
        verb: &'static str,
        /// The node.
        path: PathBuf,
        /// Why it could not be done.
        source: io::Error,
    },
}

fn read_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "see that the file's name is right, or use --table",
        io::ErrorKind::InvalidData => "a table is plain text: see that it is the right file",
        _ => "see that it is a file that you may read",
    }
}

/// What was being done, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Make a device.
    Create,
    /// Put a table into the inactive slot.
    Load,
    /// Empty the inactive slot.
    Clear,
    /// Hold back I/O.
    Suspend,
    /// Let I/O go on, through the new table if there is one.
    Resume,
    /// Remove a device.
    Remove,
    /// Give a device another name.
    Rename,
    /// Give a device a UUID.
    SetUuid,
    /// Ask what state a device is in.
    Info,
    /// Ask which devices a table uses.
    Dependencies,
    /// Wait for an event.
    Wait,
    /// Ask for a table.
    Table,
    /// Ask what the targets of a table say of themselves.
    Status,
    /// Send a message to a target.
    Message,
    /// List the devices.
    List,
    /// List the targets.
    Targets,
    /// Ask for the version of the interface.
    Version,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Create => "create",
            Action::Load => "load a table into",
            Action::Clear => "clear the inactive table of",
            Action::Suspend => "suspend",
            Action::Resume => "resume",
            Action::Remove => "remove",
            Action::Rename => "rename",
            Action::SetUuid => "give a UUID to",
            Action::Info => "get the state of",
            Action::Dependencies => "get the dependencies of",
            Action::Wait => "wait for an event of",
            Action::Table => "get the table of",
            Action::Status => "get the status of",
            Action::Message => "send a message to",
            Action::List => "list the devices",
            Action::Targets => "list the targets",
            Action::Version => "get the driver's version",
        })
    }
}

/// A request that the kernel refused.
#[derive(Debug)]
pub struct Refusal {
    /// What was being done.
    pub action: Action,
    /// To which device: its name as people write it, or what it was called instead.
    pub device: Option<String>,
    /// The errno.
    pub errno: Errno,
    /// What the kernel's log says of it; empty if it says nothing or cannot be read.
    pub reasons: Vec<String>,
    /// How many have the device open, where that is known and matters.
    pub open_count: Option<u32>,
    /// Who is seen to use the device, where that matters.
    pub holders: Vec<Holder>,
    /// Whether the refused request has left the device suspended.
    pub left_suspended: bool,
}

impl Refusal {
    pub(crate) fn new(action: Action, device: Option<String>, errno: Errno) -> Refusal {
        Refusal {
            action,
            device,
            errno,
            reasons: Vec::new(),
            open_count: None,
            holders: Vec::new(),
            left_suspended: false,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let unknown_target = || {
            self.reasons
                .iter()
                .any(|reason| reason.ends_with("unknown target type"))
        };
        Some(match (self.action, self.errno) {
            (Action::Create, Errno::EBUSY) => {
                "a device with this name, UUID or number exists: choose another, or change that \
                 one's table with 'dmrs load' and 'dmrs resume'"
            }
            (Action::Load, Errno::EINVAL) if unknown_target() => {
                "see that the target's name is right ('dmrs targets' lists those that there are), \
                 and that the module that has it can be loaded"
            }
            (Action::Load, Errno::EBUSY) => {
                "a device that the table names is in use: unmount it, or remove what holds it \
                 ('lsblk' shows that)"
            }
            (Action::Load, Errno::ENOKEY) => {
                "the key is in a keyring that is not searched here: for a LUKS device, \
                 'cryptsetup refresh --disable-keyring' puts it into the table"
            }
            (Action::Load, Errno::ENOMEM) => "give the machine more memory, or a smaller table",
            (Action::Load, _) if self.reasons.is_empty() => {
                "see the end of 'dmesg' for the kernel's reason, and correct the table"
            }
            (Action::Load, _) => "correct the table, and try again",
            (Action::Remove, Errno::EBUSY) => {
                "unmount it, or remove what stands on it; with --deferred the kernel removes it \
                 once it is free"
            }
            (Action::Rename, Errno::EBUSY) => {
                "a device has this name already: choose another ('dmrs ls' lists them)"
            }
            (Action::SetUuid, Errno::EINVAL) => "a UUID can be set once only, and it has one",
            (Action::SetUuid, Errno::EBUSY) => "another device has this UUID: choose another",
            (Action::Wait, Errno::ENXIO) => "it was removed meanwhile",
            (Action::Resume, Errno::EINVAL) if self.left_suspended => {
                "it is suspended now: load a table that is in order, and resume it again"
            }
            (Action::Resume, Errno::EINVAL) => "if it has no table, load one first",
            (Action::Message, Errno::EINVAL) => {
                "see that the target knows this message, and that the sector is within the device"
            }
            (Action::Message, Errno::ENOTTY | Errno::EOPNOTSUPP) => {
                "this target takes no such message: 'dmrs table' shows which targets there are"
            }
            (_, Errno::EINTR) => "it was interrupted: try again",
            (_, Errno::ENOMEM) => "free some memory, and try again",
            (_, _) if self.reasons.is_empty() => "see the end of 'dmesg' for the kernel's reason",
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.action)?;
        if let Some(device) = &self.device {
            write!(f, " {device}")?;
        }
        write!(f, ": {} ({:?})", self.errno.desc(), self.errno)?;
        for reason in &self.reasons {
            write!(f, "\n  the kernel says: {reason}")?;
        }
        if let Some(count @ 1..) = self.open_count {
            write!(f, "\n  it is open {count} time(s)")?;
        }
        for holder in &self.holders {
            write!(f, "\n  {holder}")?;
        }
        match self.hint() {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_action_device_errno_and_reason() {
        let mut refusal = Refusal::new(Action::Load, Some("disk".to_owned()), Errno::EINVAL);
        refusal.reasons = vec!["linear: Invalid argument count (-EINVAL)".to_owned()];
        assert_eq!(
            refusal.to_string(),
            "cannot load a table into disk: Invalid argument (EINVAL)\n  \
             the kernel says: linear: Invalid argument count (-EINVAL)\n  \
             correct the table, and try again"
        );
    }

    #[test]
    fn a_refusal_without_a_reason_says_where_to_look() {
        let refusal = Refusal::new(Action::Create, None, Errno::ENODEV);
        assert!(refusal
            .to_string()
            .ends_with("'dmesg' for the kernel's reason"));
    }
}
