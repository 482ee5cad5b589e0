// SPDX-License-Identifier: GPL-2.0

//! The report as Markdown.

use crate::results::{Count, Figure, Results};
use std::fmt::Write;

/// A number with spaces between thousands.
pub fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" {
        text.insert(0, '\u{2212}');
    }
    text
}

/// A difference, with its sign.
pub fn signed(value: f64) -> String {
    let text = number(value);
    if value >= 0.5 {
        format!("+{text}")
    } else {
        text
    }
}

/// A difference in per cent, with its sign.
pub fn percent(value: f64) -> String {
    let text = format!("{:.1} %", value.abs() * 100.0);
    match value {
        v if v > 0.0005 => format!("+{text}"),
        v if v < -0.0005 => format!("\u{2212}{text}"),
        _ => text,
    }
}

fn table_of<'a>(counts: impl Iterator<Item = &'a Count>) -> String {
    let mut out = String::from(
        "| target | I/O | lower device | C | Rust | Rust − C | of the target's own |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for c in counts {
        let floor = c.floor.map_or("–".to_owned(), |f| number(f.value));
        let _ = writeln!(
            out,
            "| {} | {} | {floor} | {} | {} | {} | {} |",
            c.target,
            c.row,
            number(c.c.value),
            number(c.rust.value),
            signed(c.difference()),
            percent(c.difference() / c.own(c.c)),
        );
    }
    out
}

/// The table of the README: the rows that say most.
pub fn short(results: &Results) -> String {
    const ROWS: [&str; 5] = [
        "4 KiB random read",
        "4 KiB random write",
        "64 KiB sequential read",
        "1 MiB sequential write",
        "4 KiB random write + flush",
    ];
    // Where there are no sequential ones.
    const RANDOM: [&str; 2] = ["64 KiB random read", "64 KiB random write"];
    let sequential = |target: &str| {
        let mut rows = results.counts.iter().filter(|c| c.target == target);
        rows.any(|c| c.row == ROWS[2])
    };
    table_of(results.counts.iter().filter(|c| {
        let row = c.row.as_str();
        ["io", "flush"].contains(&c.group.as_str())
            && (ROWS.contains(&row) || RANDOM.contains(&row) && !sequential(&c.target))
    }))
}

/// All of it.
pub fn full(results: &Results) -> String {
    let mut out = String::from("# dm-rust beside the in-tree targets\n\n");
    for (name, value) in &results.meta {
        let _ = writeln!(out, "- {name}: {value}");
    }
    out.push_str("\n## Instructions per I/O\n\n");
    out.push_str(&table_of(results.counts.iter().filter(|c| c.is_io())));
    let tables = || results.counts.iter().filter(|c| !c.is_io());
    if tables().next().is_some() {
        out.push_str("\n## Instructions of requests to device mapper\n\n");
        out.push_str(&table_of(tables()));
    }
    if !results.speed.is_empty() {
        out.push_str(
            "\n## Throughput and latency, Rust by C, pair by pair\n\n\
             | target | load | CPUs | throughput | its spread | latency | its spread | 99 % | its spread | pairs |\n\
             | --- | --- | ---: | ---: | --- | ---: | --- | ---: | --- | ---: |\n",
        );
        for s in &results.speed {
            let figure = |f: Figure| format!("{:.3} | {:.3} to {:.3}", f.value, f.min, f.max);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                s.target,
                s.row,
                s.cpus,
                figure(s.throughput),
                figure(s.latency),
                figure(s.p99),
                s.throughput.n
            );
        }
    }
    if !results.memory.is_empty() {
        out.push_str(
            "\n## Bytes of memory\n\n| target | of | C | Rust |\n| --- | --- | ---: | ---: |\n",
        );
        for m in &results.memory {
            let (c, rust) = (number(m.c), number(m.rust));
            let _ = writeln!(out, "| {} | {} | {c} | {rust} |", m.target, m.what);
        }
        for c in &results.code {
            let (theirs, ours) = (number(c.c as f64), number(c.rust as f64));
            let _ = writeln!(
                out,
                "| {} | its own functions | {theirs} | {ours} |",
                c.target
            );
        }
    }
    if !results.modules.is_empty() {
        out.push_str(
            "\n| module | code | constants | variables | other |\n| --- | ---: | ---: | ---: | ---: |\n",
        );
        for m in &results.modules {
            let sizes = [m.code, m.constants, m.variables, m.other].map(|n| number(n as f64));
            let _ = writeln!(out, "| {} | {} |", m.name, sizes.join(" | "));
        }
    }
    for profile in &results.profiles {
        let _ = writeln!(
            out,
            "\n## Where it goes: {}, {}\n\nInstructions per I/O that dm adds to the lower device, \
             by function.\n\n| function | C | Rust | Rust − C |\n| --- | ---: | ---: | ---: |",
            profile.target, profile.row
        );
        for f in profile.functions.iter().take(40) {
            let (c, rust) = (f.c - f.floor, f.rust - f.floor);
            let _ = writeln!(
                out,
                "| `{}` | {c:.1} | {rust:.1} | {:+.1} |",
                f.name.replace('|', "\\|"),
                rust - c
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_243_450.4), "1\u{202f}243\u{202f}450");
        assert_eq!(signed(-61.0), "\u{2212}61");
        assert_eq!(signed(9.0), "+9");
        assert_eq!(signed(-0.2), "0");
        assert_eq!(percent(-0.0361), "\u{2212}3.6 %");
        assert_eq!(percent(0.0), "0.0 %");
    }
}
