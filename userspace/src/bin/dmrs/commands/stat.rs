// SPDX-License-Identifier: GPL-2.0

//! `stat`.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
    time::{Duration, Instant},
};

use console::Term;
use dmrs::{
    stats::{Counters, Watch},
    Dm,
};
use serde_json::{json, Value};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::all;
use crate::{
    cli::Stat,
    failed::Failed,
    output::{self, Output},
};

/// How soon a signal is heeded.
const STEP: Duration = Duration::from_millis(50);

pub fn stat(dm: &Dm, args: &Stat, out: &mut Output) -> Result<(), Failed> {
    let ids = match args.devices.is_empty() {
        true => all(dm)?,
        false => {
            let ids: Result<Vec<_>, _> = args.devices.iter().map(|text| dm.find(text)).collect();
            ids?
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // What the kernel counts for us has to be taken down at the end.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    let watches: Result<Vec<_>, _> = ids.iter().map(|id| Watch::new(dm, id)).collect();
    let watches = watches?;
    let redraw = !out.json && io::stdout().is_terminal();
    let terminal = Term::stdout();
    let mut drawn = 0;
    let mut before = read(&watches)?;
    let mut times = 0;
    while args.count.is_none_or(|count| times < count) {
        let begun = Instant::now();
        while begun.elapsed() < args.interval && !stop.load(Ordering::Relaxed) {
            thread::sleep(STEP.min(args.interval.saturating_sub(begun.elapsed())));
        }
        let now = read(&watches)?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let seconds = begun.elapsed().as_secs_f64();
        if out.json {
            out.line(&document(&watches, &before, &now, seconds))?;
        } else {
            let text = table(&watches, &before, &now, seconds);
            if redraw {
                terminal.clear_last_lines(drawn)?;
                drawn = text.lines().count();
            }
            write!(out, "{text}")?;
            out.flush()?;
        }
        before = now;
        times += 1;
    }
    Ok(())
}

fn read(watches: &[Watch<'_>]) -> Result<Vec<Vec<Counters>>, Failed> {
    let all: Result<_, dmrs::Error> = watches.iter().map(Watch::read).collect();
    Ok(all?)
}

/// What happened in an interval: per second, and how long it took on the average.
struct Rates {
    reads: f64,
    read_sectors: f64,
    read_ms: f64,
    writes: f64,
    written_sectors: f64,
    write_ms: f64,
    busy: f64,
}

impl Rates {
    fn new(before: &Counters, now: &Counters, seconds: f64) -> Rates {
        let per_second = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let average = |ns: (u64, u64), count: (u64, u64)| match count.1.saturating_sub(count.0) {
            0 => 0.0,
            count => ns.1.saturating_sub(ns.0) as f64 / count as f64 / 1e6,
        };
        Rates {
            reads: per_second(before.reads, now.reads),
            read_sectors: per_second(before.sectors_read, now.sectors_read),
            read_ms: average((before.read_ns, now.read_ns), (before.reads, now.reads)),
            writes: per_second(before.writes, now.writes),
            written_sectors: per_second(before.sectors_written, now.sectors_written),
            write_ms: average((before.write_ns, now.write_ns), (before.writes, now.writes)),
            busy: (per_second(before.busy_ns, now.busy_ns) / 1e7).min(100.0),
        }
    }
}

type Counted = [Vec<Counters>];

fn table(watches: &[Watch<'_>], before: &Counted, now: &Counted, seconds: f64) -> String {
    let mut rows = Vec::new();
    for ((watch, before), now) in watches.iter().zip(before).zip(now) {
        for ((line, before), now) in watch.lines.iter().zip(before).zip(now) {
            let rates = Rates::new(before, now, seconds);
            rows.push(vec![
                watch.info.shown_name(),
                line.target.clone(),
                format!("{}+{}", line.start, line.length),
                format!("{:.0}", rates.reads),
                output::size(rates.read_sectors as u64),
                format!("{:.2}", rates.read_ms),
                format!("{:.0}", rates.writes),
                output::size(rates.written_sectors as u64),
                format!("{:.2}", rates.write_ms),
                now.in_flight.to_string(),
                format!("{:.0} %", rates.busy),
            ]);
        }
    }
    let headings = [
        "DEVICE",
        "TARGET",
        "SECTORS",
        "READS/s",
        "READ/s",
        "ms",
        "WRITES/s",
        "WRITTEN/s",
        "ms",
        "NOW",
        "BUSY",
    ];
    output::columns(&headings, rows, &[3, 4, 5, 6, 7, 8, 9, 10])
}

fn document(watches: &[Watch<'_>], before: &Counted, now: &Counted, seconds: f64) -> Value {
    let mut devices = Vec::new();
    for ((watch, before), now) in watches.iter().zip(before).zip(now) {
        let lines = watch.lines.iter().zip(before).zip(now);
        let targets: Vec<_> = lines
            .map(|((line, before), now)| {
                let rates = Rates::new(before, now, seconds);
                json!({
                    "start": line.start,
                    "length": line.length,
                    "target": line.target,
                    "reads": now.reads,
                    "sectors_read": now.sectors_read,
                    "writes": now.writes,
                    "sectors_written": now.sectors_written,
                    "in_flight": now.in_flight,
                    "reads_per_second": rates.reads,
                    "writes_per_second": rates.writes,
                    "read_ms": rates.read_ms,
                    "write_ms": rates.write_ms,
                    "busy_percent": rates.busy,
                })
            })
            .collect();
        let mut document = output::identity(&watch.info);
        document["targets"] = json!(targets);
        devices.push(document);
    }
    json!({ "seconds": seconds, "devices": devices })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_per_request() {
        let before = Counters {
            reads: 10,
            ..Counters::default()
        };
        let now = Counters {
            reads: 30,
            sectors_read: 160,
            read_ns: 40_000_000,
            busy_ns: 1_000_000_000,
            ..Counters::default()
        };
        let rates = Rates::new(&before, &now, 2.0);
        assert_eq!((rates.reads, rates.read_sectors), (10.0, 80.0));
        assert_eq!((rates.read_ms, rates.write_ms), (2.0, 0.0));
        assert_eq!(rates.busy, 50.0);
    }
}
