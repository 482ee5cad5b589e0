// SPDX-License-Identifier: GPL-2.0

//! What the kernel has allocated, to find what was not given back.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Numbers that grow when something is not given back: objects of each slab
/// cache that device-mapper and its targets allocate from, and kibibytes of
/// other kinds of kernel memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocated(BTreeMap<String, i64>);

impl Allocated {
    /// Counts now, after giving back what the kernel merely caches.
    pub fn now() -> Result<Allocated> {
        settle();
        let slabs = fs::read_to_string("/proc/slabinfo").context("cannot read /proc/slabinfo")?;
        let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let mut counts = BTreeMap::new();
        counts.extend(slabs.lines().filter_map(slab));
        counts.extend(memory.lines().filter_map(kernel_memory));
        Ok(Allocated(counts))
    }

    /// What has grown by `objects` or more since, or by `kibibytes`, and
    /// stays so.
    ///
    /// A leak stays. What is freed after a grace period comes back when the
    /// CPU that has it gets round to it, and in lots: a sheaf of small objects
    /// is 60 of them.
    pub fn leaked(&self, objects: i64, kibibytes: i64) -> Result<Vec<String>> {
        const TRIES: usize = 10;
        let mut grown = Vec::new();
        for _ in 0..TRIES {
            grown = Allocated::now()?.grown(self, objects, kibibytes);
            if grown.is_empty() {
                break;
            }
        }
        Ok(grown)
    }

    /// What has grown since `before`, by `objects` or more, or by
    /// `kibibytes`.
    fn grown(&self, before: &Allocated, objects: i64, kibibytes: i64) -> Vec<String> {
        let grown = self.0.iter().filter_map(|(name, now)| {
            let growth = now - before.0.get(name).copied().unwrap_or(0);
            let most = if name.contains(':') {
                kibibytes
            } else {
                objects
            };
            (growth >= most).then(|| format!("{name} by {growth} to {now}"))
        });
        grown.collect()
    }
}

/// Objects wait on per-CPU lists and for grace periods before they are free.
fn settle() {
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(100));
        let caches = fs::read_dir("/sys/kernel/slab")
            .into_iter()
            .flatten()
            .flatten();
        for cache in caches.filter(|c| watched(&c.file_name().to_string_lossy())) {
            // A cache that cannot be shrunk is counted as it is.
            let _ = fs::write(Path::new(&cache.path()).join("shrink"), "1");
        }
    }
}

/// The caches of `kmalloc` but for reclaimable memory, which is other caches'
/// affair, and those that device-mapper and the block layer have for themselves.
fn watched(cache: &str) -> bool {
    let kmalloc = cache.starts_with("kmalloc-") && !cache.contains("rcl");
    kmalloc
        || ["dm_", "dm-", "bio", "biovec", "io"]
            .iter()
            .any(|p| cache.starts_with(p))
}

/// A line of `/proc/slabinfo`: name, active objects, …
fn slab(line: &str) -> Option<(String, i64)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().filter(|name| watched(name))?;
    Some((name.to_owned(), words.next()?.parse().ok()?))
}

fn kernel_memory(line: &str) -> Option<(String, i64)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    if !["VmallocUsed:", "Percpu:", "KernelStack:"].contains(&name) {
        return None;
    }
    Some((name.to_owned(), words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let line = "kmalloc-cg-64  1024  2048  64 64 1 : tunables 0 0 0 : slabdata 32 32 0";
        assert_eq!(slab(line), Some(("kmalloc-cg-64".into(), 1024)));
        assert_eq!(slab("dentry 1 2 192 21 1 : x"), None);
        assert_eq!(slab("kmalloc-rcl-64 1 2 64 64 1 : x"), None);
        assert_eq!(
            kernel_memory("Percpu:    1300 kB"),
            Some(("Percpu:".into(), 1300))
        );
        assert_eq!(kernel_memory("MemFree:    1300 kB"), None);
    }

    #[test]
    fn growth_is_told() {
        let of = |objects, kib| {
            Allocated([("dm_x".to_owned(), objects), ("Percpu:".to_owned(), kib)].into())
        };
        assert!(of(149, 1099).grown(&of(100, 1000), 50, 100).is_empty());
        assert_eq!(
            of(150, 1000).grown(&of(100, 1000), 50, 100),
            ["dm_x by 50 to 150"]
        );
        assert_eq!(
            of(10, 1100).grown(&of(100, 1000), 50, 100),
            ["Percpu: by 100 to 1100"]
        );
        assert_eq!(
            of(60, 0).grown(&Allocated::default(), 50, 1),
            ["dm_x by 60 to 60"]
        );
    }
}
