// SPDX-License-Identifier: GPL-2.0

//! Where code runs, and what it tells the kernel log.

use crate::{bindings, mem::MaySleep};
use core::{fmt, ptr};
use kernel::prelude::*;

/// Whether this is a hard interrupt, or interrupts are off: no place for ciphers.
pub fn hard_irq_or_irqs_off() -> bool {
    // SAFETY: Only looks.
    unsafe { bindings::dm_rust_helper_in_hardirq_or_irqs_off() }
}

/// How many CPUs there may be; numbers of CPUs are below it.
pub fn possible_cpus() -> u32 {
    kernel::cpu::nr_cpu_ids()
}

/// How many CPUs are at work.
#[inline(always)]
pub fn online_cpus() -> u32 {
    // SAFETY: An integer that is there as long as the kernel; it may change at any time.
    let count = unsafe { core::ptr::read_volatile(&raw const bindings::__num_online_cpus.counter) };

    u32::try_from(count).unwrap_or(1)
}

/// The number of this CPU, which may be another by the time it is looked at.
#[inline(always)]
pub fn this_cpu() -> u32 {
    // SAFETY: Only looks.
    unsafe { bindings::raw_smp_processor_id() }
}

/// The clock, in ticks since the kernel started.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: An integer that is there as long as the kernel; it may change at any time.
    unsafe { core::ptr::read_volatile(&raw const bindings::jiffies) as u64 }
}

/// A number that stays as it is for as long as this task runs on without waiting for anything:
/// another task has another, and so has this one after it has waited. Never 0.
pub fn stretch() -> u64 {
    let task = kernel::task::Task::current_raw();
    // SAFETY: This task is there. The count is changed only when it waits, which it does not now.
    let waits = unsafe { (*task).nvcsw } as u64;

    // The address is in the lower half, and high bits that all of them have.
    (task as u64 ^ waits.rotate_left(32)).max(1)
}

/// Whether this is a task that others may interrupt at any time, in no interrupt and holding no
/// spin lock. Never so where the kernel does not keep count.
pub fn is_preemptible() -> bool {
    // SAFETY: Only looks.
    unsafe { bindings::dm_rust_helper_preemptible() }
}

/// Lets others run.
pub fn cond_resched(_sleep: MaySleep<'_>) {
    // SAFETY: The caller may sleep.
    unsafe { bindings::dm_rust_helper_cond_resched() };
}

/// How bad it is.
#[derive(Clone, Copy)]
pub enum Level {
    /// `DMINFO()` in C.
    Info,
    /// `DMWARN()` in C.
    Warning,
    /// `DMERR()` in C.
    Error,
}

/// As [`log`], with text that is made for it.
pub fn log_text(level: Level, target: &CStr, text: fmt::Arguments<'_>) {
    let level = match level {
        Level::Info => bindings::KERN_INFO.as_ptr(),
        Level::Warning => bindings::KERN_WARNING.as_ptr(),
        Level::Error => bindings::KERN_ERR.as_ptr(),
    };

    // SAFETY: The first two are strings. The text is what `%pA` of the kernel takes; it is read
    // before the call returns.
    unsafe {
        bindings::dm_rust_helper_log(
            level.cast(),
            target.as_char_ptr(),
            ptr::from_ref(&text).cast(),
        )
    };
}

/// A line for the kernel log, with device mapper's prefix and the name of the target.
pub fn log(level: Level, target: &CStr, message: &CStr) {
    let [target, message] = [target, message].map(CStr::as_char_ptr);

    match level {
        // SAFETY: Both are strings.
        Level::Info => unsafe { bindings::dm_rust_helper_info(target, message) },
        // SAFETY: As above.
        Level::Warning => unsafe { bindings::dm_rust_helper_warn(target, message) },
        // SAFETY: As above.
        Level::Error => unsafe { bindings::dm_rust_helper_err(target, message) },
    }
}
