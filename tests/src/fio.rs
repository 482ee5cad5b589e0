// SPDX-License-Identifier: GPL-2.0

//! Runs fio.

use anyhow::{bail, Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A fio that runs.
pub struct Fio {
    child: Option<Child>,
}

/// What fio did, summed over its jobs.
#[derive(Debug)]
pub struct Report {
    /// Bytes that it read, verification included.
    pub read: u64,
    /// Bytes that it wrote.
    pub written: u64,
}

impl Fio {
    /// Starts fio on a device, with direct I/O, and further options such as
    /// `rw=randwrite`.
    pub fn start(device: &Path, options: &[&str]) -> Result<Fio> {
        let mut command = Command::new("fio");
        command
            .args([
                "--output-format=json",
                "--name=job",
                "--thread",
                "--direct=1",
            ])
            .arg(format!("--filename={}", device.display()))
            .args(options.iter().map(|o| format!("--{o}")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .context("cannot start fio: is it installed in the guest?")?;
        Ok(Fio { child: Some(child) })
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// Any I/O error and any block that failed verification.
    pub fn finish(mut self) -> Result<Report> {
        let child = self.child.take().context("fio has been waited for")?;
        let out = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        if !out.status.success() {
            bail!(
                "fio: {}\n{text}{}",
                out.status,
                String::from_utf8_lossy(&out.stderr)
            );
        }
        parse(&text)
    }

    /// Waits until it ends, when its I/O is expected to fail: the text of its errors.
    pub fn finish_failed(mut self) -> Result<String> {
        let child = self.child.take().context("fio has been waited for")?;
        let out = child.wait_with_output()?;
        if out.status.success() {
            bail!("fio saw no error");
        }
        Ok(format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        ))
    }
}

impl Drop for Fio {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs fio to its end.
pub fn run(device: &Path, options: &[&str]) -> Result<Report> {
    Fio::start(device, options)?.finish()
}

fn parse(text: &str) -> Result<Report> {
    // Notes may come before the report.
    let start = text
        .find('{')
        .with_context(|| format!("fio printed no report: {text}"))?;
    let report: Value = serde_json::from_str(&text[start..])?;
    let jobs = report["jobs"]
        .as_array()
        .context("fio's report has no jobs")?;
    let mut sum = Report {
        read: 0,
        written: 0,
    };
    for job in jobs {
        if job["error"].as_i64() != Some(0) {
            bail!("fio: error {} in its report:\n{text}", job["error"]);
        }
        sum.read += job["read"]["io_bytes"].as_u64().unwrap_or_default();
        sum.written += job["write"]["io_bytes"].as_u64().unwrap_or_default();
    }
    if sum.read + sum.written == 0 {
        bail!("fio did no I/O:\n{text}");
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_summed() {
        let text = r#"note
            {"jobs": [{"error": 0, "read": {"io_bytes": 1}, "write": {"io_bytes": 2}},
                      {"error": 0, "read": {"io_bytes": 4}, "write": {"io_bytes": 8}}]}"#;
        let report = parse(text).unwrap();
        assert_eq!((report.read, report.written), (5, 10));
    }

    #[test]
    fn errors_and_idleness_are_failures() {
        let failed =
            r#"{"jobs": [{"error": 84, "read": {"io_bytes": 1}, "write": {"io_bytes": 0}}]}"#;
        assert!(parse(failed).unwrap_err().to_string().contains("error 84"));
        let idle = r#"{"jobs": [{"error": 0, "read": {"io_bytes": 0}, "write": {"io_bytes": 0}}]}"#;
        assert!(parse(idle).is_err());
        assert!(parse("nothing").is_err());
    }
}
