// SPDX-License-Identifier: GPL-2.0

//! What device-mapper had measured (IMA).

use crate::case::skip;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

const DIR: &str = "/sys/kernel/security/ima";

/// Makes the kernel measure device-mapper's tables. A policy can be written once
/// per boot; if one was, it must have asked for the same.
pub fn measure() -> Result<()> {
    if !Path::new(DIR).exists() {
        return Err(skip("the kernel has no IMA, or securityfs is not mounted"));
    }
    let policy = Path::new(DIR).join("policy");
    if policy.exists() {
        fs::write(&policy, "measure func=CRITICAL_DATA label=device-mapper\n")
            .context("IMA does not take a policy: boot with ima_policy=critical_data")?;
    }
    Ok(())
}

/// The data of all `dm_table_load` measurements so far.
pub fn table_loads() -> Result<Vec<String>> {
    let path = Path::new(DIR).join("ascii_runtime_measurements");
    let text = fs::read_to_string(path).context("cannot read IMA's measurements")?;
    Ok(text.lines().filter_map(table_load).collect())
}

/// A line is: register, hash, template, hash of the data, name of the event, data.
fn table_load(line: &str) -> Option<String> {
    let mut fields = line.split_ascii_whitespace().skip(4);
    if fields.next()? != "dm_table_load" {
        return None;
    }
    let hex = fields.next()?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let data: Option<Vec<u8>> = hex.chunks(2).map(byte).collect();
    Some(String::from_utf8_lossy(&data?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_decoded() {
        let line = "10 aa ima-buf sha256:bb dm_table_load 64743d313b";
        assert_eq!(table_load(line).as_deref(), Some("dt=1;"));
        assert_eq!(
            table_load("10 aa ima-buf sha256:bb dm_device_resume 6464"),
            None
        );
        assert_eq!(table_load("10 aa ima-ng sha256:bb /bin/sh"), None);
    }
}
