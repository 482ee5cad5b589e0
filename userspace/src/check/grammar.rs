// SPDX-License-Identifier: GPL-2.0

//! What arguments targets take, as far as it can be said in a table: after their constructors in
//! the kernel, and `Documentation/admin-guide/device-mapper`.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A block device, all of which may be used.
    Device,
    /// The first sector that is used of the device before it; as many follow as the line has.
    Offset,
    /// A whole number.
    Number,
    /// A whole number that is not 0.
    Count,
    /// A key: hexadecimal digits, `-`, or `:` and the name of one.
    Key,
    /// Whatever the target makes of it.
    Word,
}

/// An argument: what it is called, and what it is.
pub(super) type Arg = (&'static str, Kind);

/// What comes after the arguments that are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Nothing.
    Nothing,
    /// Nothing, or the number of the words that follow, and these.
    Counted(&'static str),
    /// Those of `rust-powercut`, with their number before them.
    Powercut,
    /// Anything.
    Anything,
    /// The same again, for as many times in all as given.
    Groups(&'static [Arg], &'static [usize]),
    /// `DEVICE OFFSET`, as many times as the first argument says.
    Stripes,
}

/// The arguments of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grammar {
    pub(super) args: &'static [Arg],
    pub(super) more: More,
}

use Kind::{Count, Device, Key, Number, Offset, Word};

const DEVICE_OFFSET: &[Arg] = &[("device", Device), ("offset", Offset)];
const DELAY: &[Arg] = &[("device", Device), ("offset", Offset), ("delay", Number)];

const SNAPSHOT: &[Arg] = &[
    ("origin", Device),
    ("COW device", Device),
    ("persistence", Word),
    ("chunk size", Number),
];

const VERITY: &[Arg] = &[
    ("version", Number),
    ("data device", Device),
    ("hash device", Device),
    ("data block size", Count),
    ("hash block size", Count),
    ("number of data blocks", Number),
    ("hash start block", Number),
    ("algorithm", Word),
    ("root digest", Word),
    ("salt", Word),
];

const CRYPT: &[Arg] = &[
    ("cipher", Word),
    ("key", Key),
    ("IV offset", Number),
    ("device", Device),
    ("offset", Offset),
];

const FLAKEY: &[Arg] = &[
    ("device", Device),
    ("offset", Offset),
    ("up interval", Number),
    ("down interval", Number),
];

const THIN_POOL: &[Arg] = &[
    ("metadata device", Device),
    ("data device", Device),
    ("data block size", Count),
    ("low water mark", Number),
];

const LOG_WRITES: &[Arg] = &[("device", Device), ("log device", Device)];

const CACHE: &[Arg] = &[
    ("metadata device", Device),
    ("cache device", Device),
    ("origin", Device),
    ("block size", Count),
];

const CLONE: &[Arg] = &[
    ("metadata device", Device),
    ("destination", Device),
    ("source", Device),
    ("region size", Count),
];

const WRITECACHE: &[Arg] = &[
    ("type", Word),
    ("origin", Device),
    ("cache device", Device),
    ("block size", Count),
];

const INTEGRITY: &[Arg] = &[
    ("device", Device),
    ("reserved sectors", Number),
    ("tag size", Word),
    ("mode", Word),
];

// What is used of the device is not what the line has.
const UNSTRIPED: &[Arg] = &[
    ("stripes", Count),
    ("chunk size", Count),
    ("stripe", Number),
    ("device", Device),
    ("offset", Number),
];

/// The targets that the kernel's own tree has, whether or not their arguments are known here.
pub(super) const IN_TREE: &[&str] = &[
    "cache",
    "clone",
    "crypt",
    "delay",
    "dust",
    "ebs",
    "era",
    "error",
    "flakey",
    "integrity",
    "linear",
    "log-writes",
    "mirror",
    "multipath",
    "raid",
    "snapshot",
    "snapshot-merge",
    "snapshot-origin",
    "striped",
    "switch",
    "thin",
    "thin-pool",
    "unstriped",
    "vdo",
    "verity",
    "writecache",
    "zero",
    "zoned",
];

/// The module that has a target, if the target is known at all.
pub(super) fn module_of(target: &str) -> Option<String> {
    if let Some(twin) = target.strip_prefix("rust-") {
        let ours = matches!(
            twin,
            "crypt"
                | "delay"
                | "dust"
                | "error"
                | "flakey"
                | "linear"
                | "powercut"
                | "striped"
                | "zero"
        );
        return ours.then(|| "dm-rust".to_owned());
    }
    IN_TREE.contains(&target).then(|| match target {
        "error" | "linear" | "striped" => "dm-mod".to_owned(),
        "snapshot-merge" | "snapshot-origin" => "dm-snapshot".to_owned(),
        "thin" => "dm-thin-pool".to_owned(),
        _ => format!("dm-{target}"),
    })
}

/// The arguments of a target, if they are known. A target of this project takes those of the
/// in-tree one that it stands for.
pub(super) fn of(target: &str) -> Option<Grammar> {
    let (args, more): (&[Arg], More) = match target.strip_prefix("rust-").unwrap_or(target) {
        "linear" => (DEVICE_OFFSET, More::Nothing),
        "zero" => (&[], More::Nothing),
        "powercut" if target.starts_with("rust-") => (DEVICE_OFFSET, More::Powercut),
        "striped" => (&[("stripes", Count), ("chunk size", Count)], More::Stripes),
        "delay" => (&[], More::Groups(DELAY, &[1, 2, 3])),
        "flakey" => (FLAKEY, More::Counted("features")),
        "crypt" => (CRYPT, More::Counted("options")),
        "snapshot" | "snapshot-merge" => (SNAPSHOT, More::Anything),
        "snapshot-origin" => (&[("origin", Device)], More::Nothing),
        "thin-pool" => (THIN_POOL, More::Counted("features")),
        "thin" => (&[("pool", Device), ("device id", Number)], More::Anything),
        "verity" => (VERITY, More::Counted("options")),
        "log-writes" => (LOG_WRITES, More::Anything),
        "cache" => (CACHE, More::Anything),
        "clone" => (CLONE, More::Anything),
        "writecache" => (WRITECACHE, More::Counted("options")),
        "integrity" => (INTEGRITY, More::Counted("options")),
        "unstriped" => (UNSTRIPED, More::Nothing),
        "dust" => (
            &[
                ("device", Device),
                ("offset", Offset),
                ("block size", Count),
            ],
            More::Nothing,
        ),
        "era" => (
            &[
                ("metadata device", Device),
                ("origin", Device),
                ("block size", Count),
            ],
            More::Nothing,
        ),
        _ => return None,
    };
    Some(Grammar { args, more })
}
