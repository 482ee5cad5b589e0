// SPDX-License-Identifier: GPL-2.0

//! The time stamp counter, which counts instructions in a QEMU told to, and marks in the code that
//! QEMU's profiler (`profile.c`) sees.
#![allow(unsafe_code)]

use anyhow::{ensure, Result};
use std::arch::asm;

/// Now. Under `-icount shift=0`: instructions since the guest began.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: each x86-64 processor has this instruction, and Linux allows it to programs.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What taking the time twice costs: the smallest difference seen.
pub fn overhead() -> u64 {
    let costs = (0..64).map(|_| {
        let start = now();
        now() - start
    });
    costs.min().unwrap_or(0)
}

/// Fails unless the counter counts instructions.
pub fn check() -> Result<()> {
    let counts = (0..16).map(|_| {
        let start = now();
        // SAFETY: this does nothing a thousand times.
        unsafe { asm!(".rept 1000", "nop", ".endr", options(nomem, nostack)) };
        now() - start - overhead()
    });
    let count = counts.min().unwrap_or(0);
    ensure!(
        (1000..1010).contains(&count),
        "1000 instructions are counted as {count}: boot the guest with -icount shift=0,sleep=off"
    );
    Ok(())
}

/// The profiler counts from here on.
#[inline(always)]
pub fn profile_start() {
    // SAFETY: this is `nopl 0x646d0001(%rax,%rax)`, which does nothing.
    unsafe {
        asm!(
            ".byte 0x0f, 0x1f, 0x84, 0x00, 0x01, 0x00, 0x6d, 0x64",
            options(nomem, nostack)
        )
    };
}

/// The profiler writes down what it has counted.
#[inline(always)]
pub fn profile_stop() {
    // SAFETY: this is `nopl 0x646d0002(%rax,%rax)`, which does nothing.
    unsafe {
        asm!(
            ".byte 0x0f, 0x1f, 0x84, 0x00, 0x02, 0x00, 0x6d, 0x64",
            options(nomem, nostack)
        )
    };
}
