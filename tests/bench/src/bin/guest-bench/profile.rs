// SPDX-License-Identifier: GPL-2.0

//! Does I/O under the eyes of QEMU's profiler, and prints where the functions of the kernel are.

use crate::{device, say, subjects};
use anyhow::{Context, Result};
use dm_rust_bench::row::{Device, Op, Order, Row};
use dm_rust_bench::subject::SECTORS;
use dm_rust_bench::{clock, Record, Who};
use dm_rust_tests::lower::ram;

/// How many I/Os make a window.
const N: u64 = 64;

pub fn run(only: &str) -> Result<()> {
    clock::check()?;
    let lower = ram()?;
    Device::open(lower.path(), false)?.fill()?;
    let mut number = 0;
    for subject in subjects(only).filter(|s| s.plan.counts()) {
        say(subject.label);
        for (op, size) in [
            (Op::Read, 4096),
            (Op::Write, 4096),
            (Op::Read, 65536),
            (Op::Read, 1 << 20),
        ] {
            let row = Row {
                op,
                order: Order::Random,
                size,
            };
            let mut window = |who, io: &Device| -> Result<()> {
                io.profile(row, N)?;
                Record::Window {
                    number,
                    target: subject.label.to_owned(),
                    row: row.to_string(),
                    who,
                    n: N,
                }
                .print();
                number += 1;
                Ok(())
            };
            if subject.has_lower {
                window(Who::Floor, &Device::open(lower.path(), false)?)?;
            }
            for who in [Who::C, Who::Rust] {
                let device = device(subject, who, Some(&lower), SECTORS)?;
                window(who, &Device::open(&device.path(), subject.fails)?)?;
            }
        }
    }
    let symbols = std::fs::read_to_string("/proc/kallsyms").context("cannot read kallsyms")?;
    // Functions only; lines that no progress begins with.
    for line in symbols.lines() {
        let mut words = line.split_ascii_whitespace();
        let (address, kind) = (words.next(), words.next());
        if let (Some(address), Some("t" | "T" | "w" | "W")) = (address, kind) {
            let rest: Vec<&str> = words.collect();
            println!("symbol {address} {}", rest.join(" "));
        }
    }
    Ok(())
}
