// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of devices of every table that is taken; what all
//! targets have in common is in the common tests.

use super::{fill, CRYPT};
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{errno_name, line, outcome, table_text, MappedDevice};
use dm_rust_tests::ima;
use dm_rust_tests::twin::{Kind, Side};

/// Tables that the kernel takes, on `{}`, with keys as long as `<32>` says.
const TAKEN: &[&str] = &[
    "aes-xts-plain64 <64> 0 {} 0",
    "aes-xts-plain64 <32> 00018446744073709551615 {} 007",
    "aes <16> 0 {} 0",
    "aes-plain <24> 1 {} 2",
    "aes:2-cbc-essiv:sha256 <64> 0 {} 0",
    "aes:64-cbc-lmk <1040> 0 {} 0",
    "aes:64-cbc-lmk <1024> 0 {} 0",
    "aes-cbc-tcw <64> 0 {} 0",
    "aes-cbc-eboiv <32> 0 {} 0",
    "aes-cbc-elephant <32> 0 {} 0",
    "aes-cbc-elephant <64> 0 {} 0",
    "aes-cbc-null <32> 0 {} 0",
    "aes-cbc-benbi <32> 0 {} 0",
    "aes-ecb <32> 0 {} 0",
    "aes-cbc-plain64be:and:more <32> 0 {} 0",
    "serpent-xts-plain64 <64> 0 {} 0",
    "twofish-cbc-essiv:sha256 <32> 0 {} 0",
    "camellia-xts-plain64 <64> 0 {} 0",
    "cipher_null-ecb - 0 {} 0",
    "capi:xts(aes)-plain64 <64> 0 {} 0",
    "capi:cbc(aes)-essiv:sha256 <32> 0 {} 0",
    "capi:cbc(aes)-lmk <1040> 0 {} 0",
    "capi:ecb(cipher_null) - 0 {} 0",
    "capi:adiantum(xchacha12,aes)-plain64 <32> 0 {} 0",
    "aes-xts-plain64 000102030405060708090A0B0C0D0E0F000102030405060708090A0B0C0D0E0f0 0 {} 0",
    "aes-xts-plain64 <64> 0 {} 0 0",
    "aes-xts-plain64 <64> 0 {} 0 0 and more",
    "aes-xts-plain64 <64> 0 {} 0 1 allow_discards",
    "aes-xts-plain64 <64> 0 {} 0 1 Same_CPU_crypt and more",
    "aes-xts-plain64 <64> 0 {} 0 1 high_priority",
    "aes-xts-plain64 <64> 0 {} 0 1 submit_from_crypt_cpus",
    "aes-xts-plain64 <64> 0 {} 0 1 no_read_workqueue",
    "aes-xts-plain64 <64> 0 {} 0 1 no_write_workqueue",
    "aes-xts-plain64 <64> 0 {} 0 1 iv_large_sectors",
    "aes-xts-plain64 <64> 0 {} 0 1 sector_size:512",
    "aes-xts-plain64 <64> 2 {} 0 1 sector_size:1024",
    "aes-xts-plain64 <64> 8 {} 24 2 sector_size:4096 iv_large_sectors",
    "aes-xts-plain64 <64> 0 {} 0 1 integrity:20:none",
    "aes-xts-plain64 <64> 0 {} 0 1 integrity:20:NoNe",
    "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:77",
    "aes-xts-plain64 <64> 0 {} 0 8 integrity_key_size:00077 iv_large_sectors sector_size:2048 \
     no_write_workqueue no_read_workqueue submit_from_crypt_cpus high_priority same_cpu_crypt",
    "aes-xts-plain64 <64> 0 {} 0 9 allow_discards allow_discards same_cpu_crypt same_cpu_crypt \
     high_priority submit_from_crypt_cpus no_read_workqueue no_write_workqueue iv_large_sectors",
];

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::lines::of_many_tables", |ctx| {
            taken(ctx, |_, _| Ok(()))
        })
        .limit(180)
        // As below, for a kernel that measures nothing.
        .long(),
        case("crypt::lines::measured", measured).limit(180).last(),
        case("crypt::lines::threads_and_workqueues", threads),
    ]
}

fn note(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    side.note(format!("{key} table"), table_text(&device.table()?));
    side.note(format!("{key} status"), table_text(&device.status()?));
    side.note(format!("{key} deps"), format!("{:?}", device.deps()?));
    let mut info = device.info()?;
    info.devno = (0, 0);
    info.data.clear();
    side.note(format!("{key} info"), format!("{info:?}"));
    Ok(())
}

/// Makes a device of each table in turn, and notes what it says of itself.
fn taken(ctx: &Ctx, more: impl Fn(&Side, &str) -> Result<()>) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 4)?;
        for template in TAKEN {
            let params = fill(template, &lower.node());
            let device = side.empty_device()?;
            let loaded = device.load(&[line(0, 1024, &side.target, params)]);
            // The in-tree target has to take them, or nothing would be compared.
            if let (Err(e), false) = (&loaded, side.ours) {
                anyhow::bail!("{template}: {}", errno_name(e));
            }
            side.note(format!("{template} load"), outcome(loaded));
            side.note(format!("{template} resume"), outcome(device.resume()));
            if device.is_active()? {
                note(side, template, &device)?;
            }
            more(side, template)?;
            side.note_log(&format!("{template} log"), "^device-mapper: ")?;
        }
        Ok(())
    })
}

fn measured(ctx: &Ctx) -> Result<()> {
    ima::measure()?;
    let before = std::cell::Cell::new(ima::table_loads()?.len());
    taken(ctx, |side, template| {
        let loads = ima::table_loads()?.split_off(before.get());
        before.set(before.get() + loads.len());
        ensure!(
            loads.len() == 1,
            "{} measurements of one table",
            loads.len()
        );
        // It tells the key's size, and must not tell the key.
        ensure!(!loads[0].contains(&super::key(8)), "{}", loads[0]);
        side.note(format!("{template} measured"), &loads[0]);
        Ok(())
    })
}

/// Workqueues and threads have the same names and settings, and go with the device.
fn threads(ctx: &Ctx) -> Result<()> {
    const OPTIONS: &[&str] = &[
        "",
        "1 high_priority",
        "1 same_cpu_crypt",
        "2 same_cpu_crypt high_priority",
        "2 no_read_workqueue no_write_workqueue",
    ];
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for options in OPTIONS {
            let template = format!("aes-xts-plain64 <64> 0 {{}} 0 {options}");
            let params = fill(template.trim_end(), &lower.node());
            let device = side.device(&[line(0, 64, &side.target, params)])?;
            let devno = device.devno();
            side.note(format!("{options} threads"), writers(&devno)?);
            for (queue, files) in workqueues(&devno)? {
                side.note(format!("{options} {queue}"), files);
            }
            drop(device);
            let left = writers(&devno)?;
            ensure!(left.is_empty(), "{left} is left");
            ensure!(workqueues(&devno)?.is_empty(), "workqueues are left");
        }
        Ok(())
    })
}

/// The threads that write for a device, with their niceness.
fn writers(devno: &str) -> Result<String> {
    // A name has room for 15 bytes only.
    let wanted = format!("dmcrypt_write/{devno}");
    let wanted = &wanted[..wanted.len().min(15)];
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        if name
            .split_once(" (")
            .is_some_and(|(_, n)| n.starts_with(wanted))
        {
            let nice = rest.split(' ').nth(16).unwrap_or_default();
            found.push(format!("{wanted} nice {nice}"));
        }
    }
    found.sort();
    Ok(found.join(", "))
}

/// The workqueues of a device as sysfs has them, without their serial numbers.
fn workqueues(devno: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for queue in std::fs::read_dir("/sys/devices/virtual/workqueue")?.flatten() {
        let name = queue.file_name().to_string_lossy().into_owned();
        let Some(kind) = ["kcryptd_io-", "kcryptd-"]
            .into_iter()
            .find(|k| name.starts_with(&format!("{k}{devno}-")))
        else {
            continue;
        };
        let mut files = String::new();
        for file in ["per_cpu", "max_active", "nice", "cpumask"] {
            if let Ok(value) = std::fs::read_to_string(queue.path().join(file)) {
                files += &format!("{file} {} ", value.trim());
            }
        }
        found.push((kind.to_owned(), files));
    }
    found.sort();
    Ok(found)
}
