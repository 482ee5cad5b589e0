// SPDX-License-Identifier: GPL-2.0

//! What the block layer was asked to do, from its trace events.

use crate::cleanup;
use anyhow::{bail, Context, Result};
use regex::Regex;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const ROOT: &str = "/sys/kernel/tracing/instances";

/// Requests as they are made, passed on, split and completed.
pub const BIOS: &[&str] = &["bio_queue", "bio_remap", "split", "bio_complete"];

/// Requests as they are issued to the hardware, with their I/O priority.
pub const ISSUED: &[&str] = &["rq_issue"];

/// What a mark in the trace looks like.
static MARK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r" [0-9]+\.[0-9]+: tracing_mark_write: (.*)$").expect("a valid expression")
});

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    // Task names may hold colons and brackets; the name of the event may not.
    Regex::new(r" [0-9]+\.[0-9]+: (block_[a-z_]+): ([0-9]+),([0-9]+) (.*)$")
        .expect("a valid expression")
});

static OLD_DEVICE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\(([0-9]+),([0-9]+)\)").expect("a valid expression"));

static COMMAND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"scsi_dispatch_cmd_start: .* prot_sgl=([0-9]+) prot_op=([A-Z0-9_]+) .*cmnd=\(([A-Z0-9_]+) ")
        .expect("a valid expression")
});

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Its name without `block_`, such as `bio_queue`.
    pub name: String,
    /// `major:minor` of the device.
    pub devno: String,
    /// Operation and flags, sectors, and what else the event tells, without the
    /// name of the task.
    pub what: String,
}

impl Event {
    fn parse(line: &str) -> Option<Event> {
        let found = LINE.captures(line)?;
        let name = found[1].trim_start_matches("block_");
        let mut what = OLD_DEVICE.replace(&found[4], "$1:$2").into_owned();
        // Only completions end in a number: the others tell the task.
        if name != "bio_complete" {
            if let Some(at) = what.rfind(" [") {
                what.truncate(at);
            }
        }
        Some(Event {
            name: name.to_owned(),
            devno: format!("{}:{}", &found[2], &found[3]),
            what,
        })
    }
}

/// Traces block devices while it lives.
pub struct Trace {
    dir: PathBuf,
    devices: Vec<String>,
    /// The files that enable what is traced: to turn off all events that there are takes seconds on
    /// kernels that watch what they do.
    switches: Vec<String>,
}

impl Trace {
    /// Starts tracing some events ([`BIOS`], [`ISSUED`]) of devices, named by
    /// `major:minor`.
    pub fn start(devices: &[&str], events: &[&str]) -> Result<Trace> {
        let events = events.iter().map(|event| format!("block/block_{event}"));
        Trace::of(devices, events)
    }

    fn of(devices: &[&str], events: impl Iterator<Item = String>) -> Result<Trace> {
        let dir = Path::new(ROOT).join("dm-rust-tests");
        if !dir.exists() {
            fs::create_dir(&dir).context("cannot trace: is tracefs mounted?")?;
        }
        let trace = Trace {
            dir,
            devices: devices.iter().map(|d| (*d).to_owned()).collect(),
            switches: Vec::new(),
        };
        trace.and(events)
    }

    /// Traces these as well.
    fn and(mut self, events: impl Iterator<Item = String>) -> Result<Trace> {
        for event in events {
            let switch = format!("events/{event}/enable");
            self.set(&switch, "1")?;
            self.switches.push(switch);
        }
        Ok(self)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
    }

    fn turn_off(&self) -> Result<()> {
        self.switches.iter().try_for_each(|s| self.set(s, "0"))
    }

    fn text(&self) -> Result<String> {
        let text = fs::read_to_string(self.dir.join("trace"))?;
        if text.contains("LOST") {
            bail!("the trace ran over: trace less at a time");
        }
        Ok(text)
    }

    /// Begins a part of the trace, with a name of one line.
    pub fn mark(&self, name: &str) -> Result<()> {
        self.set("trace_marker", name)
    }

    /// Stops, and returns what happened on the devices in each part, in order.
    pub fn stop(self) -> Result<Vec<(String, Vec<Event>)>> {
        self.turn_off()?;
        let text = self.text()?;
        let mut parts = vec![("start".to_owned(), Vec::new())];
        for line in text.lines() {
            let mark = line.contains("tracing_mark").then(|| MARK.captures(line));
            if let Some(mark) = mark.flatten() {
                parts.push((mark[1].to_owned(), Vec::new()));
            } else if let (Some(event), Some(part)) = (Event::parse(line), parts.last_mut()) {
                if self.devices.contains(&event.devno) {
                    part.1.push(event);
                }
            }
        }
        Ok(parts)
    }
}

/// Traces SCSI commands while it lives.
pub struct Commands(Trace);

impl Commands {
    /// Starts.
    pub fn start() -> Result<Commands> {
        let event = "scsi/scsi_dispatch_cmd_start".to_owned();
        Trace::of(&[], [event].into_iter()).map(Commands)
    }

    /// Runs something, and returns with its value which kinds of commands came of it: for each its
    /// name, its protection, and whether protection information went with it. How many there were is
    /// a matter of merging, and so of chance.
    pub fn of<T>(&self, run: impl FnOnce() -> T) -> Result<(T, Vec<String>)> {
        // What was traced before goes when the file is cut.
        self.0.set("trace", "")?;
        let value = run();
        let text = self.0.text()?;
        let mut kinds: Vec<_> = text
            .lines()
            .filter_map(|line| COMMAND.captures(line))
            .map(|c| match &c[1] {
                "0" => format!("{} {}", &c[3], &c[2]),
                _ => format!("{} {} with information", &c[3], &c[2]),
            })
            .collect();
        kinds.sort();
        kinds.dedup();
        Ok((value, kinds))
    }
}

/// Traces, while it lives, what memory is asked for that the kernel may do I/O for to get it.
pub struct Allocations {
    trace: Trace,
    name: String,
}

impl Allocations {
    /// What asks for memory: small pieces, pieces of one kind, and pages.
    const EVENTS: [&str; 3] = [
        "kmem/kmalloc",
        "kmem/kmem_cache_alloc",
        "kmem/mm_page_alloc",
    ];

    /// `__GFP_IO` and `__GFP_FS`.
    const FILTER: &str = "gfp_flags & 0xc0";

    /// Starts, for what is asked for with a function on the stack that has `name` in its own, such as that
    /// of a crate.
    pub fn start(name: &str) -> Result<Allocations> {
        let trace = Trace::of(&[], iter::empty())?;
        trace.set("options/stacktrace", "1")?;
        for event in Self::EVENTS {
            trace.set(&format!("events/{event}/filter"), Self::FILTER)?;
        }
        let trace = trace.and(Self::EVENTS.map(str::to_owned).into_iter())?;
        let name = name.to_owned();
        Ok(Allocations { trace, name })
    }

    /// What was asked for since the last time: each event, with the stack.
    pub fn take(&self) -> Result<Vec<String>> {
        let text = self.trace.text()?;
        // What was traced before goes when the file is cut.
        self.trace.set("trace", "")?;
        let parts: Vec<_> = text.split("<stack trace>").collect();
        let asked = parts.windows(2).filter_map(|pair| {
            let event = pair[0].lines().rfind(|line| line.contains("gfp_flags="))?;
            let stack = pair[1].lines().skip(1);
            let stack: String = stack.take_while(|line| line.starts_with(" => ")).collect();
            let is_wanted = stack.contains(&self.name);
            is_wanted.then(|| format!("{}{stack}", event.trim()))
        });
        Ok(asked.collect())
    }
}

/// The events as text for comparison: the requests as they were made, in their
/// order; then, since their order is up to the driver, completions and what was
/// issued to the hardware, sorted.
pub fn summary(events: &[Event]) -> String {
    summary_in(Order::Kept, events)
}

/// Whether requests are made in the order in which they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the thread that asks for them, one after the other.
    Kept,
    /// By other threads.
    Any,
}

/// As [`summary`], in another order.
pub fn summary_in(order: Order, events: &[Event]) -> String {
    let unordered =
        |e: &Event| order == Order::Any || ["bio_complete", "rq_issue"].contains(&e.name.as_str());
    let (mut last, first): (Vec<_>, Vec<_>) = events.iter().partition(|e| unordered(e));
    last.sort();
    let lines = first.into_iter().chain(last);
    let lines = lines.map(|e| format!("{} {} {}\n", e.name, e.devno, e.what));
    lines.collect::<Vec<_>>().concat()
}

impl Drop for Trace {
    fn drop(&mut self) {
        let removed = self.turn_off();
        if let Err(e) = removed.and_then(|()| Ok(fs::remove_dir(&self.dir)?)) {
            cleanup::left_behind("trace instance", format!("{e:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, devno: &str, what: &str) -> Option<Event> {
        Some(Event {
            name: name.into(),
            devno: devno.into(),
            what: what.into(),
        })
    }

    #[test]
    fn events_are_parsed() {
        let prefix = "     guest-tests-123     [000] .....    34.500000: ";
        for (text, wanted) in [
            (
                "block_bio_queue: 253,0 WFS 8 + 8 [guest-tests]",
                event("bio_queue", "253:0", "WFS 8 + 8"),
            ),
            (
                "block_bio_remap: 1,0 W 18 + 8 <- (253,0) 8",
                event("bio_remap", "1:0", "W 18 + 8 <- 253:0 8"),
            ),
            (
                "block_bio_complete: 253,0 R 8 + 0 [-5]",
                event("bio_complete", "253:0", "R 8 + 0 [-5]"),
            ),
            (
                "block_rq_issue: 252,0 W 4096 () 8 + 8 be,0,4 [kworker/0:1H]",
                event("rq_issue", "252:0", "W 4096 () 8 + 8 be,0,4"),
            ),
            ("sched_switch: x", None),
        ] {
            assert_eq!(Event::parse(&format!("{prefix}{text}")), wanted);
        }
        assert_eq!(Event::parse("# tracer: nop"), None);
    }
}
