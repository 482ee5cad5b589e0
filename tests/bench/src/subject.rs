// SPDX-License-Identifier: GPL-2.0

//! The targets that are measured.

use crate::Who;
use dm_rust_tests::dm::{line, Line};

/// Sectors of a mapped device that is measured (16 MiB).
pub const SECTORS: u64 = 32_768;

/// Which measurements a target is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All of them.
    All,
    /// Instructions per I/O, in the few rows that differ: each I/O takes long.
    Counts,
    /// The same, and fio with I/Os of several sizes.
    CountsAndSpeed,
    /// Only fio.
    Speed,
    /// Only fio, and only when it is asked for by more than the name of the target.
    Asked,
}

impl Plan {
    /// Whether instructions are counted.
    pub fn counts(self) -> bool {
        !matches!(self, Plan::Speed | Plan::Asked)
    }

    /// Whether fio runs.
    pub fn speed(self) -> bool {
        self != Plan::Counts
    }
}

/// A target and its in-tree twin.
#[derive(Debug)]
pub struct Subject {
    /// The in-tree name; ours has `rust-` before it.
    pub name: &'static str,
    /// What reports call it.
    pub label: &'static str,
    /// What is measured.
    pub plan: Plan,
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
    /// What comes after the arguments, ours and the twin's.
    pub options: [&'static str; 2],
    /// Bytes of metadata for each sector that the device below has to have: it is `integrity` on the
    /// lower device then.
    pub tag: u32,
}

/// `crypt` with a key of 512 bits.
fn xts(node: &str, start: u64, _: u64) -> String {
    cipher("aes-xts-plain64", 64, node, start)
}

fn cbc(node: &str, start: u64, _: u64) -> String {
    cipher("aes-cbc-essiv:sha256", 32, node, start)
}

fn adiantum(node: &str, start: u64, _: u64) -> String {
    cipher("xchacha12,aes-adiantum-plain64", 32, node, start)
}

fn gcm(node: &str, start: u64, _: u64) -> String {
    cipher("capi:gcm(aes)-random", 32, node, start)
}

/// `crypt` with any cipher, and a key of so many bytes.
fn cipher(cipher: &str, key: usize, node: &str, start: u64) -> String {
    let key = "a5".repeat(key / 2) + &"5a".repeat(key / 2);
    format!("{cipher} {key} 0 {node} {start}")
}

/// A row of [`SUBJECTS`] for `crypt`.
const fn crypt_subject(
    label: &'static str,
    plan: Plan,
    params: fn(&str, u64, u64) -> String,
    options: [&'static str; 2],
) -> Subject {
    Subject {
        name: "crypt",
        label,
        plan,
        module: "dm-crypt",
        // The module has no other functions.
        prefix: "",
        type_name: "Crypt",
        has_lower: true,
        fails: false,
        params,
        options,
        tag: 0,
    }
}

/// All of them. To measure another target, add an entry.
pub const SUBJECTS: &[Subject] = &[
    Subject {
        name: "linear",
        label: "linear",
        plan: Plan::All,
        module: "dm-mod",
        prefix: "linear_",
        type_name: "Linear",
        has_lower: true,
        fails: false,
        params: |node, start, _| format!("{node} {start}"),
        options: ["", ""],
        tag: 0,
    },
    Subject {
        name: "striped",
        label: "striped",
        plan: Plan::All,
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
        options: ["", ""],
        tag: 0,
    },
    Subject {
        name: "error",
        label: "error",
        plan: Plan::All,
        module: "dm-mod",
        prefix: "io_err_",
        type_name: "Error",
        has_lower: false,
        fails: true,
        params: |_, _, _| String::new(),
        options: ["", ""],
        tag: 0,
    },
    Subject {
        name: "zero",
        label: "zero",
        plan: Plan::All,
        module: "dm-zero",
        prefix: "zero_",
        type_name: "Zero",
        has_lower: false,
        fails: false,
        params: |_, _, _| String::new(),
        options: ["", ""],
        tag: 0,
    },
    crypt_subject("crypt", Plan::CountsAndSpeed, xts, ["", ""]),
    crypt_subject(
        "crypt, no workqueues",
        Plan::Counts,
        xts,
        [NO_WORKQUEUES; 2],
    ),
    crypt_subject(
        "crypt, 4096-byte sectors",
        Plan::Counts,
        xts,
        [" 1 sector_size:4096"; 2],
    ),
    crypt_subject(
        "crypt, 4096-byte sectors, no workqueues",
        Plan::Counts,
        xts,
        [" 3 sector_size:4096 no_read_workqueue no_write_workqueue"; 2],
    ),
    // The twin is faster with these options in some loads, and without them in others: ours, which
    // has none, is measured against both.
    crypt_subject(
        "crypt, twin with no workqueues",
        Plan::Speed,
        xts,
        ["", NO_WORKQUEUES],
    ),
    crypt_subject("crypt cbc", Plan::Asked, cbc, ["", ""]),
    crypt_subject(
        "crypt cbc, twin with no workqueues",
        Plan::Asked,
        cbc,
        ["", NO_WORKQUEUES],
    ),
    crypt_subject("crypt adiantum", Plan::Asked, adiantum, ["", ""]),
    crypt_subject(
        "crypt adiantum, twin with no workqueues",
        Plan::Asked,
        adiantum,
        ["", NO_WORKQUEUES],
    ),
    Subject {
        tag: 28,
        ..crypt_subject("crypt gcm", Plan::Asked, gcm, [AEAD, AEAD])
    },
    Subject {
        tag: 28,
        ..crypt_subject(
            "crypt gcm, twin with no workqueues",
            Plan::Asked,
            gcm,
            [
                AEAD,
                " 3 integrity:28:aead no_read_workqueue no_write_workqueue",
            ],
        )
    },
];

const NO_WORKQUEUES: &str = " 2 no_read_workqueue no_write_workqueue";

const AEAD: &str = " 1 integrity:28:aead";

impl Subject {
    /// Whether our target has the same table for both.
    pub fn same_ours(&self, other: &Subject) -> bool {
        let table = |subject: &Subject| {
            let params = (subject.params)("node", 8, SECTORS);
            (subject.name, params + subject.options[0])
        };
        table(self) == table(other)
    }

    /// A table of `segments` segments, all of the start of `node`.
    pub fn table(&self, who: Who, node: &str, segments: u64, len: u64) -> Vec<Line> {
        let target = who.target(self.name);
        let [ours, twin] = self.options;
        let options = if who == Who::C { twin } else { ours };
        let params = (self.params)(node, 0, len) + options;
        (0..segments)
            .map(|i| line(i * len, len, &target, params.as_str()))
            .collect()
    }
}
