// SPDX-License-Identifier: GPL-2.0

//! The targets that are measured.

use crate::Who;
use dm_rust_tests::dm::{line, Line};

/// Sectors of a mapped device that is measured (16 MiB).
pub const SECTORS: u64 = 32_768;

/// A target and its in-tree twin.
#[derive(Debug)]
pub struct Subject {
    /// The in-tree name; ours has `rust-` before it.
    pub name: &'static str,
    /// The in-tree module that has the twin.
    pub module: &'static str,
    /// What the names of the twin's functions begin with.
    pub prefix: &'static str,
    /// How our code calls the target's type: symbols of it hold this.
    pub type_name: &'static str,
    /// Whether it stands on a device.
    pub has_lower: bool,
    /// Whether all I/O fails, as it should.
    pub fails: bool,
    /// The arguments, for a device node and the sector where a target of so many sectors starts on
    /// it.
    pub params: fn(&str, u64, u64) -> String,
}

/// All of them. To measure another target, add an entry.
pub const SUBJECTS: &[Subject] = &[
    Subject {
        name: "linear",
        module: "dm-mod",
        prefix: "linear_",
        type_name: "Linear",
        has_lower: true,
        fails: false,
        params: |node, start, _| format!("{node} {start}"),
    },
    Subject {
        name: "striped",
        module: "dm-mod",
        prefix: "stripe_",
        type_name: "Striped",
        has_lower: true,
        fails: false,
        // Chunks of 64 KiB, or of half of what is shorter than two of them.
        params: |node, start, len| {
            let (half, chunk) = (len / 2, (len / 2).min(128));
            format!("2 {chunk} {node} {start} {node} {}", start + half)
        },
    },
    Subject {
        name: "error",
        module: "dm-mod",
        prefix: "io_err_",
        type_name: "Error",
        has_lower: false,
        fails: true,
        params: |_, _, _| String::new(),
    },
    Subject {
        name: "zero",
        module: "dm-zero",
        prefix: "zero_",
        type_name: "Zero",
        has_lower: false,
        fails: false,
        params: |_, _, _| String::new(),
    },
];

impl Subject {
    /// A table of `segments` segments, all of the start of `node`.
    pub fn table(&self, who: Who, node: &str, segments: u64, len: u64) -> Vec<Line> {
        let target = who.target(self.name);
        let params = (self.params)(node, 0, len);
        (0..segments)
            .map(|i| line(i * len, len, &target, params.as_str()))
            .collect()
    }
}
