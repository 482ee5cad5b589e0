// SPDX-License-Identifier: GPL-2.0

//! Reads and judges the kernel log.

use anyhow::{bail, Context, Result};
use regex::Regex;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{LazyLock, Mutex};

/// Lines that no test may provoke, whatever it does.
static FATAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        WARNING: | BUG[:\ ] | Oops | Call\ Trace: | kernel\ BUG | general\ protection
        | Unable\ to\ handle | unable\ to\ handle
        | circular\ locking | recursive\ locking | lock\ held\ when\ returning | lockdep
        | INFO:\ task | blocked\ for\ more\ than | soft\ lockup | hard\ LOCKUP
        | rcu.*(stall|self-detected) | UBSAN | KASAN | KCSAN | KFENCE | KMSAN
        | kmemleak | unreferenced\ object
        | scheduling\ while\ atomic | sleeping\ function\ called | Voluntary\ context\ switch
        | list_(add|del)\ corruption | refcount_t: | ODEBUG | DEBUG_LOCKS
        | page\ allocation\ failure | Out\ of\ memory
        | panicked\ at | rust_kernel | Kernel\ panic | double\ free | Objects\ remaining
        | leaked | invalid\ opcode | stack-protector
        ",
    )
    .expect("a valid expression")
});

/// Lines of the module or of device-mapper: a test takes those it provokes.
static OURS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?-u:\b)dm[_-]rust(?-u:\b)|(?-u:\b)rust[-_](?-u:\w)|^device-mapper: ")
        .expect("a valid expression")
});

/// What every out-of-tree module makes the kernel say when it is loaded.
static ROUTINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^dm_rust: (loading out-of-tree module taints kernel|module verification failed: signature and/or required key missing - tainting kernel)",
    )
    .expect("a valid expression")
});

/// What a line of the log means for the test that ran when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: other parts of the kernel talk too.
    Harmless,
    /// Written by the module or by device-mapper; the test has to take it.
    Ours,
    /// A report of a bug in the kernel: always a failure.
    Fatal,
}

/// What was judged before: a fuzzer has the same said over and over, and the expressions take longer than
/// what it does.
static JUDGED: LazyLock<Mutex<HashMap<String, Verdict>>> = LazyLock::new(Mutex::default);

/// How many lines are remembered.
const MOST_JUDGED: usize = 4096;

/// Judges one line of the log, without its prefix.
pub fn judge(line: &str) -> Verdict {
    let mut judged = JUDGED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(verdict) = judged.get(line) {
        return *verdict;
    }
    if judged.len() == MOST_JUDGED {
        judged.clear();
    }
    let verdict = judge_anew(line);
    judged.insert(line.to_owned(), verdict);
    verdict
}

fn judge_anew(line: &str) -> Verdict {
    if FATAL.is_match(line) {
        Verdict::Fatal
    } else if OURS.is_match(line) && !ROUTINE.is_match(line) {
        Verdict::Ours
    } else {
        Verdict::Harmless
    }
}

/// How KCSAN begins a report, ends it, and names an access.
static RACE: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        "^BUG: KCSAN: ",
        "^=+$",
        "^(race at unknown origin, with )?(read|write|assert).* to 0x[0-9a-f]+ of [0-9]+ bytes by ",
    ]
    .map(|expression| Regex::new(expression).expect("a valid expression"))
});

/// How many lines of the call chain of an access say whose it is.
const RACE_FRAMES: usize = 2;

/// Takes out what KCSAN says of races that are the kernel's own: it watches the whole kernel. Those
/// of an access in the module, or in a function that it calls, stay.
fn forget_other_races(lines: Vec<String>) -> Vec<String> {
    let [begin, end, access] = &*RACE;
    let mut left = Vec::new();
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        if !line.starts_with("BUG") || !begin.is_match(&line) {
            left.push(line);
            continue;
        }
        let report: Vec<_> = lines.by_ref().take_while(|l| !end.is_match(l)).collect();
        let accesses = (0..report.len()).filter(|&at| access.is_match(&report[at]));
        let ours = accesses
            .flat_map(|at| report[at..].iter().skip(1).take(RACE_FRAMES))
            .any(|frame| frame.contains("[dm_rust"));
        if ours {
            left.push(line);
            left.extend(report);
        }
    }
    left
}

/// The text of a record of `/dev/kmsg`, without its prefix and its dictionary.
fn text(record: &str) -> &str {
    let message = record.split_once(';').map_or(record, |(_, m)| m);
    let line = message.lines().next().unwrap_or_default();
    // In-tree dm-crypt takes this prefix from a header of another subsystem.
    match line.strip_prefix("trusted_key: ") {
        Some(own) if own.starts_with("device-mapper: crypt: ") => own,
        _ => line,
    }
}

/// The part of the kernel log that was written since it was opened.
pub struct KernelLog {
    file: File,
    unjudged: Vec<String>,
}

impl KernelLog {
    /// Starts reading after the last line that is there now.
    pub fn open() -> Result<KernelLog> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .context("cannot read /dev/kmsg: the tests must run as root")?;
        file.seek(SeekFrom::End(0))?;
        Ok(KernelLog {
            file,
            unjudged: Vec::new(),
        })
    }

    fn read(&mut self) -> Result<()> {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    let record = String::from_utf8_lossy(&record[..n]);
                    let line = text(&record);
                    // Said of lines that were too many, when the next one comes: it may be another
                    // test's.
                    if !line.ends_with(" callbacks suppressed") {
                        self.unjudged.push(line.to_owned());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    bail!("the kernel log ran over: boot with a larger log_buf_len")
                }
                Err(e) => return Err(e).context("cannot read /dev/kmsg"),
            }
        }
    }

    fn take_unjudged(&mut self) -> Vec<String> {
        forget_other_races(std::mem::take(&mut self.unjudged))
    }

    /// Takes the lines that match `pattern`: they will not fail the test, unless
    /// they report a bug.
    pub fn take(&mut self, pattern: &str) -> Result<Vec<String>> {
        let pattern = Regex::new(pattern)?;
        self.read()?;
        let (taken, left) = self
            .take_unjudged()
            .into_iter()
            .partition(|l| pattern.is_match(l) && judge(l) != Verdict::Fatal);
        self.unjudged = left;
        Ok(taken)
    }

    /// Takes all lines that would fail the test, and forgets the harmless ones.
    /// Reports of bugs are returned too, but still fail the test.
    pub fn take_all(&mut self) -> Result<Vec<String>> {
        self.read()?;
        let lines = self.take_unjudged();
        let telling = lines.into_iter().map(|l| (judge(&l), l));
        let (fatal, ours): (Vec<_>, Vec<_>) = telling
            .filter(|(verdict, _)| *verdict != Verdict::Harmless)
            .partition(|(verdict, _)| *verdict == Verdict::Fatal);
        let taken = fatal.iter().chain(&ours).map(|(_, l)| l.clone()).collect();
        self.unjudged = fatal.into_iter().map(|(_, l)| l).collect();
        Ok(taken)
    }

    /// Takes all that is left and returns the lines that fail the test.
    pub fn finish(&mut self) -> Result<Vec<String>> {
        self.read()?;
        let lines = self.take_unjudged();
        Ok(lines
            .into_iter()
            .filter(|l| judge(l) != Verdict::Harmless)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_bugs_are_fatal() {
        for line in [
            "WARNING: CPU: 1 PID: 7 at drivers/md/dm.c:1 dm_x+0x1/0x2 [dm_mod]",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "Oops: 0000 [#1] SMP",
            "Call Trace:",
            "WARNING: possible circular locking dependency detected",
            "INFO: task fio:300 blocked for more than 30 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "UBSAN: array-index-out-of-bounds in x.c:1",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "rust_kernel: panicked at 'x'",
        ] {
            assert_eq!(judge(line), Verdict::Fatal, "{line}");
        }
    }

    #[test]
    fn own_lines_are_told_from_routine_and_foreign_ones() {
        let refusal = "device-mapper: table: 253:0: rust-linear: Invalid device sector (-EINVAL)";
        assert_eq!(judge(refusal), Verdict::Ours);
        assert_eq!(judge("dm_rust: hello"), Verdict::Ours);
        assert_eq!(judge("rust_linear: hello"), Verdict::Ours);
        assert_eq!(
            judge("dm_rust: loading out-of-tree module taints kernel."),
            Verdict::Harmless
        );
        assert_eq!(judge("brd: module loaded"), Verdict::Harmless);
        assert_eq!(
            judge("EXT4-fs (dm-0): mounted filesystem"),
            Verdict::Harmless
        );
    }

    #[test]
    fn a_record_is_reduced_to_its_text() {
        assert_eq!(
            text("6,339,5140900,-;brd: loaded\n SUBSYSTEM=x\n"),
            "brd: loaded"
        );
        assert_eq!(text("no prefix"), "no prefix");
        assert_eq!(
            text("4,1,1,-;trusted_key: device-mapper: crypt: x"),
            "device-mapper: crypt: x"
        );
        assert_eq!(text("trusted_key: x"), "trusted_key: x");
    }

    #[test]
    fn only_our_races_count() {
        let report = |module: &str, first: &str| {
            let frames = format!(
                "==================\nBUG: KCSAN: data-race in one / other\n\n\
                write (marked) to 0xffff888 of 8 bytes by task 5 on cpu 0:\n {first}+0x1/0x9{module}\n \
                second+0x1/0x9\n caller+0x5/0x8 [dm_rust]\n\n\
                read to 0xffff888 of 8 bytes by task 6 on cpu 1:\n other+0x1/0x9\n\n\
                Reported by Kernel Concurrency Sanitizer on:\n==================\nafter"
            );
            frames.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let left = forget_other_races(report("", "one"));
        assert!(
            left.iter().all(|l| judge(l) == Verdict::Harmless),
            "{left:?}"
        );
        assert_eq!(left.last().map(String::as_str), Some("after"));
        let left = forget_other_races(report(" [dm_rust]", "map"));
        assert!(left.iter().any(|l| judge(l) == Verdict::Fatal), "{left:?}");
        assert_eq!(left.last().map(String::as_str), Some("after"));
    }
}
