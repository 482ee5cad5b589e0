// SPDX-License-Identifier: GPL-2.0

//! Tables: what a device consists of, target by target.
//!
//! The text form has one target per line: `START LENGTH TARGET ARGUMENTS…`, with start and
//! length in sectors of 512 bytes. Blank lines and lines that begin with `#` are skipped, and
//! a `#` among the arguments begins a comment.

mod keys;
mod parse;

use std::fmt;

use zeroize::Zeroizing;

pub use parse::{Field, Line, Problem, Source, TableError};

/// The longest name of a target, in bytes.
pub const MAX_TARGET_NAME: usize = devicemapper_sys::DM_MAX_TYPE_NAME as usize - 1;

/// One line of a table: a range of sectors, and what serves it.
///
/// The arguments may hold a key: they are wiped from memory when dropped, and
/// [`fmt::Debug`] and [`fmt::Display`] put zeros in the place of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The first sector of the device that this target serves (512 bytes each).
    pub start: u64,
    /// How many sectors it serves (512 bytes each).
    pub length: u64,
    /// The name of the target, such as `linear`.
    pub name: String,
    /// Its arguments, as the target itself splits them; empty if it has none.
    pub args: Zeroizing<String>,
}

impl Target {
    /// The arguments with a zero in the place of each character of a key, as `dmsetup` hides
    /// them. Names of keys in the kernel's keyring are not hidden: they are no secret.
    pub fn args_without_keys(&self) -> Zeroizing<String> {
        keys::hidden(&self.name, &self.args)
    }

    /// The line that the kernel would be given, keys included.
    pub fn line_with_keys(&self) -> Zeroizing<String> {
        self.line(&self.args)
    }

    fn line(&self, args: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{} {} {} {args}",
            self.start, self.length, self.name
        ))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&self.args_without_keys()))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// The targets of one device, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The targets.
    pub targets: Vec<Target>,
}

impl Table {
    /// Reads a table from its text form.
    ///
    /// # Errors
    ///
    /// [`TableError`] for the first line that is not a line of a table, or for a text that
    /// has no such line.
    ///
    /// ```
    /// let table = dmrs::Table::parse("# half of a disk\n0 2048 linear /dev/sda 0\n")?;
    /// assert_eq!(table.targets[0].name, "linear");
    /// assert_eq!(table.size(), 2048);
    /// # Ok::<(), dmrs::TableError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Table, TableError> {
        let source = Source::parse(text);
        match source.errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Table {
                targets: source.lines.into_iter().map(|line| line.target).collect(),
            }),
        }
    }

    /// The size of a device that has this table, in sectors of 512 bytes.
    pub fn size(&self) -> u64 {
        self.targets
            .iter()
            .map(|target| target.start.saturating_add(target.length))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
