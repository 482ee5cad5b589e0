// SPDX-License-Identifier: GPL-2.0

//! What could not be cleaned up.
//!
//! A destructor cannot return an error, and a device that outlives its test
//! would make a later one fail for no reason of its own. So destructors report
//! here and the runner fails the test that left something behind.

use std::sync::Mutex;

static LEFT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records that `what` could not be released, and why.
pub fn left_behind(what: impl Into<String>, why: impl std::fmt::Display) {
    let line = format!("{} was left behind: {why}", what.into());
    LEFT.lock().unwrap_or_else(|e| e.into_inner()).push(line);
}

/// Takes all that was recorded since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut LEFT.lock().unwrap_or_else(|e| e.into_inner()))
}
