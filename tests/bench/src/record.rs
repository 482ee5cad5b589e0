// SPDX-License-Identifier: GPL-2.0

//! What the measuring program prints, a line of JSON each.

use serde::{Deserialize, Serialize};
use std::io::Write;

/// Whom a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The lower device alone.
    Floor,
    /// The in-tree target.
    C,
    /// Ours.
    Rust,
}

impl Who {
    /// The name of the target type that tables call `name`.
    pub fn target(self, name: &str) -> String {
        match self {
            Who::Rust => format!("rust-{name}"),
            Who::C | Who::Floor => name.to_owned(),
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Record {
    /// Instructions, in one repeat.
    Count {
        /// `io`, `flush`, `table`, `stripes`, `depth` or `size`.
        group: String,
        target: String,
        row: String,
        /// What grows from row to row, where something does.
        x: u64,
        who: Who,
        /// A twentieth of the operations took no more: the figure that is compared.
        low: f64,
        median: f64,
        mean: f64,
        /// How many operations.
        n: u64,
    },
    /// One side of one pair of runs of fio.
    Speed {
        target: String,
        row: String,
        cpus: u64,
        pair: u64,
        who: Who,
        iops: f64,
        /// Mean completion latency.
        latency_ns: f64,
        /// Of a hundred completions one took longer.
        p99_ns: f64,
    },
    /// Bytes of kernel memory.
    Memory {
        target: String,
        /// `a device`, `a segment` or `an I/O in flight`.
        what: String,
        who: Who,
        bytes: f64,
    },
    /// What the window of the profiler of that number was.
    Window {
        number: u64,
        target: String,
        row: String,
        who: Who,
        /// How many operations.
        n: u64,
    },
    /// The machine.
    Guest { kernel: String, cpus: u64 },
}

impl Record {
    /// Prints it.
    pub fn print(&self) {
        let line = serde_json::to_string(self).expect("records are plain data");
        // One write, so that a line is never cut by another's.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(format!("{line}\n").as_bytes());
    }
}
