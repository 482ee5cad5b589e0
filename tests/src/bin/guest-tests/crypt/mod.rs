// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-crypt`.

mod bad_options;
mod bad_tables;
mod cryptsetup;
mod faults;
mod integrity;
mod keyring;
mod keys;
mod known_answers;
mod lines;
mod memory;
mod on_disk;
mod sizes;
mod swap;

use dm_rust_tests::case::Case;
use dm_rust_tests::dm::{line, Line};
use dm_rust_tests::hex;
use dm_rust_tests::lower::Lower;
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::twin::{Shape, Target};

/// `rust-crypt` and `crypt`: `<cipher> <key> <IV offset> <device> <start> [<#options> <options>]`.
pub static CRYPT: Target = Target {
    name: "crypt",
    shapes: &[
        Shape {
            name: "xts",
            lowers: 1,
            table: |target, lowers| {
                let params = Params::new("aes-xts-plain64", 64);
                vec![params.over(target, &lowers[0], lowers[0].sectors())]
            },
        },
        Shape {
            name: "cbc_from_the_middle",
            lowers: 1,
            table: |target, lowers| {
                let params = Params {
                    iv_offset: (1 << 32) - 3,
                    start: 8 * MIB,
                    options: "1 allow_discards",
                    ..Params::new("aes-cbc-essiv:sha256", 32)
                };
                vec![params.over(target, &lowers[0], lowers[0].sectors() - 8 * MIB)]
            },
        },
        Shape {
            name: "large_sectors_at_once",
            lowers: 1,
            table: |target, lowers| {
                let params = Params {
                    options: "5 allow_discards no_read_workqueue no_write_workqueue \
                              sector_size:4096 iv_large_sectors",
                    ..Params::new("aes-xts-plain64", 64)
                };
                vec![params.over(target, &lowers[0], 16 * MIB)]
            },
        },
        Shape {
            name: "two_lines",
            lowers: 2,
            table: |target, lowers| {
                let first = Params {
                    options: "2 same_cpu_crypt submit_from_crypt_cpus",
                    ..Params::new("capi:xts(aes)-plain64", 32)
                };
                let second = Params {
                    start: 3 * MIB,
                    options: "1 high_priority",
                    ..Params::new("aes-cbc-plain", 24)
                };
                let mut table = vec![first.over(target, &lowers[0], 8 * MIB)];
                table.push(Line {
                    start: 8 * MIB,
                    ..second.over(target, &lowers[1], 9 * MIB)
                });
                table
            },
        },
    ],
};

/// Arguments of a table.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    /// Cipher, mode and IV mode.
    pub cipher: &'a str,
    /// Length of the key in bytes.
    pub key: usize,
    /// In sectors.
    pub iv_offset: u64,
    /// First sector of the lower device.
    pub start: u64,
    /// Number of options, and options; or nothing.
    pub options: &'a str,
}

impl<'a> Params<'a> {
    /// Offsets of zero, and no options.
    pub fn new(cipher: &'a str, key: usize) -> Params<'a> {
        Params {
            cipher,
            key,
            iv_offset: 0,
            start: 0,
            options: "",
        }
    }

    /// A line of a table, on the device with that node.
    pub fn line(&self, target: &str, node: &str, sectors: u64) -> Line {
        let Params {
            cipher,
            iv_offset,
            start,
            options,
            ..
        } = self;
        let key = key(self.key);
        let params = format!("{cipher} {key} {iv_offset} {node} {start} {options}");
        line(0, sectors, target, params.trim_end())
    }

    /// As [`Params::line`], on a lower device.
    pub fn over(&self, target: &str, lower: &Lower, sectors: u64) -> Line {
        self.line(target, &lower.node(), sectors)
    }
}

/// The byte of the key of every test that is at `at`: none is like its neighbours.
pub fn key_byte(at: usize) -> u8 {
    (at * 101 + at / 256 + 23) as u8
}

/// A key of that many bytes in hexadecimal; `-` if there are none.
pub fn key(bytes: usize) -> String {
    match bytes {
        0 => "-".into(),
        _ => hex((0..bytes).map(key_byte)),
    }
}

/// Puts what templates stand for: `{}` the node, `<32>` a key of that many bytes.
pub fn fill(template: &str, node: &str) -> String {
    let words = template.split(' ').map(|word| {
        let size = word.strip_prefix('<').and_then(|w| w.strip_suffix('>'));
        match size.and_then(|s| s.parse().ok()) {
            Some(size) => key(size),
            None => word.replace("{}", node),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

pub fn cases() -> Vec<Case> {
    let mut cases = lines::cases();
    cases.extend(bad_tables::cases());
    cases.extend(bad_options::cases());
    cases.extend(on_disk::cases());
    cases.extend(known_answers::cases());
    cases.extend(keys::cases());
    cases.extend(keyring::cases());
    cases.extend(integrity::cases());
    cases.extend(faults::cases());
    cases.extend(sizes::cases());
    cases.extend(swap::cases());
    cases.extend(memory::cases());
    cases.extend(cryptsetup::cases());
    // Each polled request waits for seconds there, as it does in-tree.
    let common = scenario::queued_cases(&CRYPT);
    cases.extend(scenario::long_ones(common, &["::bios::polled"]));
    cases.extend(scenario::zones::cases(&CRYPT));
    cases
}
