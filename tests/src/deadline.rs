// SPDX-License-Identifier: GPL-2.0

//! The time limit of a test.
//!
//! A thread that hangs in the kernel cannot be ended, and the state it leaves
//! is bad for every test after it: the whole run ends instead, with what the
//! blocked tasks were doing.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// Exit status of a run that was ended by a time limit.
pub const EXIT_HUNG: i32 = 124;

static CURRENT: Mutex<Option<(String, Instant)>> = Mutex::new(None);
static START: Once = Once::new();

/// Sets a time limit for as long as it lives.
pub struct Deadline;

impl Deadline {
    /// Ends the run if the returned value still lives after `limit`.
    pub fn arm(name: &str, limit: Duration) -> Deadline {
        START.call_once(|| {
            std::thread::spawn(watch);
        });
        set(Some((name.to_owned(), Instant::now() + limit)));
        Deadline
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(value: Option<(String, Instant)>) {
    *CURRENT.lock().unwrap_or_else(|e| e.into_inner()) = value;
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let current = CURRENT.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some((name, _)) = current.filter(|(_, end)| Instant::now() >= *end) {
            expire(&name);
        }
    }
}

fn expire(name: &str) -> ! {
    println!("\ntest {name} did not end within its limit; blocked tasks follow");
    print!("{}", blocked_tasks());
    // The kernel's own view goes to its log; failure to ask for it must not
    // keep the run from ending.
    for key in ["w", "l"] {
        let _ = fs::write("/proc/sysrq-trigger", key);
    }
    println!("test result: FAILED. {name} hung; the run ends here, in a state known to be bad");
    end_machine_unless_gone();
    std::process::exit(EXIT_HUNG);
}

/// A thread that never leaves the kernel keeps this process from ending, and
/// whoever waits for it waiting. If that is so in five seconds, the kernel panics.
fn end_machine_unless_gone() {
    let script = format!(
        "sleep 5; test ! -e /proc/{} || echo c >/proc/sysrq-trigger",
        std::process::id()
    );
    if let Err(e) = Command::new("sh").args(["-c", &script]).spawn() {
        println!("cannot see to it that the run ends: {e}");
    }
}

/// Kernel stacks of every task in uninterruptible sleep, and of our own.
fn blocked_tasks() -> String {
    let own = std::process::id().to_string();
    let mut out = String::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return "cannot read /proc\n".into();
    };
    for process in processes.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(tasks) = fs::read_dir(process.path().join("task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let status = read("status");
            let state = status.lines().find(|l| l.starts_with("State:"));
            if pid == own || state.is_some_and(|s| s.contains("\tD")) {
                out += &format!(
                    "{} {} {}\n{}",
                    task.file_name().to_string_lossy(),
                    read("comm").trim_end(),
                    state.unwrap_or("State: unknown"),
                    read("stack"),
                );
            }
        }
    }
    out
}
