// SPDX-License-Identifier: GPL-2.0

//! The packaged cryptsetup, unmodified, with ours in the place of the in-tree
//! target: what it makes with one it opens with the other.

use anyhow::{bail, ensure, Context, Result};
use dm_rust_tests::case::{case, skip, Case, Ctx};
use dm_rust_tests::disk::{expect_equal, pattern, Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::module::{modprobe, rmmod};
use dm_rust_tests::twin::Kind;
use dm_rust_tests::{cleanup, process, scenario};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::{NamedTempFile, TempDir};

/// With this parameter the module registers its target as `crypt`.
const AS_CRYPT: &str = "as_crypt=1";

pub fn cases() -> Vec<Case> {
    type Test = fn(&Ctx) -> Result<()>;
    let tests: [(&str, Test); 16] = [
        ("luks1", |ctx| luks(ctx, &["--type", "luks1"])),
        ("luks2", |ctx| {
            luks(ctx, &["--type", "luks2", "--sector-size", "512"])
        }),
        ("luks2_4096", |ctx| {
            luks(ctx, &["--type", "luks2", "--sector-size", "4096"])
        }),
        ("luks2_other_ciphers", |ctx| {
            luks(
                ctx,
                &[
                    "--type",
                    "luks2",
                    "-c",
                    "serpent-cbc-essiv:sha256",
                    "-s",
                    "256",
                ],
            )?;
            luks(
                ctx,
                &[
                    "--type",
                    "luks2",
                    "-c",
                    "xchacha12,aes-adiantum-plain64",
                    "-s",
                    "256",
                ],
            )
        }),
        ("luks2_integrity", |ctx| {
            luks(
                ctx,
                &[
                    "--type",
                    "luks2",
                    "--integrity",
                    "hmac-sha256",
                    "--integrity-no-wipe",
                ],
            )?;
            aead(ctx)
        }),
        ("plain", plain),
        ("truecrypt", truecrypt),
        ("loop_aes", loop_aes),
        ("suspend", suspend),
        ("resize", resize),
        ("refresh", refresh),
        ("reencrypt_online", reencrypt),
        ("power_goes_in_reencryption", power_goes),
        ("encrypt_and_decrypt", encrypt_and_decrypt),
        ("not_beside_the_in_tree_module", beside),
        // depmod looks into all modules of the kernel.
        ("loaded_on_demand", on_demand),
    ];
    let each =
        |(name, test): (&str, Test)| case(format!("crypt::cryptsetup::{name}"), test).limit(600);
    scenario::long_ones(
        tests.into_iter().map(each),
        &[
            "::luks2_other_ciphers",
            "::encrypt_and_decrypt",
            "::power_goes_in_reencryption",
            "::loaded_on_demand",
        ],
    )
    .collect()
}

/// Which target answers to `crypt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    InTree,
    Ours,
}

use Provider::{InTree, Ours};

/// Has a target answer to `crypt`. Without a module under test it is always the
/// in-tree one.
fn provide(ctx: &Ctx, provider: Provider) -> Result<Provided<'_>> {
    let Some(module) = &ctx.env.module else {
        modprobe("dm-crypt", &[])?;
        return Ok(Provided(ctx));
    };
    module.ensure_unloaded()?;
    let provided = Provided(ctx);
    match provider {
        InTree => modprobe("dm-crypt", &[])?,
        Ours => {
            if Path::new("/sys/module/dm_crypt").exists() {
                rmmod("dm-crypt")?;
            }
            let loaded = module.load_with(AS_CRYPT);
            loaded.with_context(|| format!("cannot load the module with {AS_CRYPT}"))?;
            ensure!(
                !Path::new("/sys/module/dm_crypt").exists(),
                "the in-tree module is loaded too"
            );
        }
    }
    Ok(provided)
}

/// Puts the module back as it was.
struct Provided<'a>(&'a Ctx);

impl Drop for Provided<'_> {
    fn drop(&mut self) {
        let Some(module) = &self.0.env.module else {
            return;
        };
        if let Err(e) = module
            .ensure_unloaded()
            .and_then(|()| module.ensure_loaded())
        {
            cleanup::left_behind("the module under another name", format!("{e:#}"));
        }
    }
}

/// Runs cryptsetup, with a passphrase on its input.
fn cryptsetup(args: &[&str]) -> Result<String> {
    let mut child = Command::new("cryptsetup")
        .args(["--batch-mode", "--key-file", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cryptsetup")?;
    let mut input = child.stdin.take().context("no input")?;
    // It may end without having read it.
    let _ = input.write_all(b"a passphrase");
    drop(input);
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!(
            "`cryptsetup {}` ended with {}: {}",
            args.join(" "),
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    // The library says on its errors what it could not have of the kernel.
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(
        errors.trim().is_empty(),
        "cryptsetup {}: {errors}",
        args.join(" ")
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

const NAME: &str = "dmr-test-cryptsetup";

/// A volume that is open, closed when it is dropped.
struct Open {
    disk: Option<Disk>,
}

impl Open {
    fn new(args: &[&str]) -> Result<Open> {
        cryptsetup(args)?;
        let mut open = Open { disk: None };
        open.disk = Some(Disk::open(&node(), Mode::Direct)?);
        Ok(open)
    }

    fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("it was closed")
    }

    /// Writes data with a number all over, some MiB of it.
    fn write(&self, seed: u64) -> Result<()> {
        for (sector, count) in PARTS {
            self.disk()?.write(sector, &pattern(seed, sector, count))?;
        }
        Ok(())
    }

    fn check(&self, seed: u64) -> Result<()> {
        for (sector, count) in PARTS {
            let found = self.disk()?.read(sector, count)?;
            expect_equal(&found, &pattern(seed, sector, count), sector)?;
        }
        Ok(())
    }
}

const PARTS: [(u64, u64); 3] = [(0, 64), (1000, 2048), (10_000, 8)];

impl Drop for Open {
    fn drop(&mut self) {
        self.disk = None;
        if let Err(e) = process::run("cryptsetup", &["close", NAME]) {
            cleanup::left_behind("an encrypted volume", format!("{e:#}"));
        }
    }
}

fn node() -> PathBuf {
    Path::new("/dev/mapper").join(NAME)
}

/// Fast to unlock, and without much memory.
const FORMAT: &[&str] = &["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

fn format(lower: &Lower, args: &[&str]) -> Result<()> {
    let node = lower.node();
    cryptsetup(&[FORMAT, &["luksFormat"], args, &[&node]].concat())?;
    Ok(())
}

fn open(lower: &Lower) -> Result<Open> {
    Open::new(&["open", &lower.node(), NAME])
}

/// Made and written with each target, read with the other.
fn luks(ctx: &Ctx, args: &[&str]) -> Result<()> {
    let lower = Kind::Ram.make()?;
    {
        let _provided = provide(ctx, Ours)?;
        format(&lower, args)?;
        let volume = open(&lower)?;
        volume.write(1)?;
        volume.check(1)?;
        let status = cryptsetup(&["status", NAME])?;
        ensure!(status.contains("is active and is in use"), "{status}");
    }
    {
        let _provided = provide(ctx, InTree)?;
        let volume = open(&lower)?;
        volume.check(1)?;
        volume.write(2)?;
    }
    let _provided = provide(ctx, Ours)?;
    let volume = open(&lower)?;
    volume.check(2)
}

/// With an authenticated cipher, if the kernel lets programs have it: from 7.3 on cryptsetup finds
/// none, whoever answers to `crypt`.
fn aead(ctx: &Ctx) -> Result<()> {
    const ARGS: &[&str] = &[
        "--type",
        "luks2",
        "-c",
        "aes-gcm-random",
        "--integrity",
        "aead",
        "--integrity-no-wipe",
        "--sector-size",
        "4096",
    ];
    let refused = {
        let _provided = provide(ctx, InTree)?;
        let in_tree = format(&Kind::Ram.make()?, ARGS);
        in_tree.is_err_and(|e| format!("{e:#}").contains("is not available"))
    };
    match refused {
        false => luks(ctx, ARGS),
        true => {
            let _provided = provide(ctx, Ours)?;
            let ours = format(&Kind::Ram.make()?, ARGS);
            ensure!(
                ours.is_err_and(|e| format!("{e:#}").contains("is not available")),
                "it is available with ours only"
            );
            Ok(())
        }
    }
}

fn plain(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let node = lower.node();
    for (seed, args) in (1..).zip([
        &[
            "--cipher",
            "aes-cbc-essiv:sha256",
            "--key-size",
            "256",
            "--hash",
            "ripemd160",
        ][..],
        &[
            "--cipher",
            "aes-xts-plain64",
            "--key-size",
            "512",
            "--hash",
            "sha256",
            "--offset",
            "2048",
            "--skip",
            "8",
        ],
        &[
            "--cipher",
            "aes-xts-plain64",
            "--key-size",
            "512",
            "--hash",
            "sha256",
            "--sector-size",
            "4096",
            "--iv-large-sectors",
        ],
        &[
            "--cipher",
            "twofish-xts-plain64",
            "--key-size",
            "512",
            "--hash",
            "sha512",
            "--allow-discards",
            "--perf-same_cpu_crypt",
            "--perf-submit_from_crypt_cpus",
            "--perf-no_read_workqueue",
            "--perf-no_write_workqueue",
        ],
    ]) {
        let args = [&["open", "--type", "plain"], args, &[&node, NAME]].concat();
        {
            let _provided = provide(ctx, Ours)?;
            let volume = plain_open(&args)?;
            volume.write(seed)?;
        }
        {
            let _provided = provide(ctx, InTree)?;
            let volume = plain_open(&args)?;
            volume.check(seed)?;
            volume.write(seed + 10)?;
        }
        let _provided = provide(ctx, Ours)?;
        plain_open(&args)?.check(seed + 10)?;
    }
    Ok(())
}

/// Opens with a passphrase from a pipe: one from a file would be the key as it is.
fn plain_open(args: &[&str]) -> Result<Open> {
    let script = format!(
        "printf %s secret | cryptsetup --batch-mode {}",
        args.join(" ")
    );
    process::run("sh", &["-c", &script])?;
    let mut open = Open { disk: None };
    open.disk = Some(Disk::open(&node(), Mode::Direct)?);
    Ok(open)
}

/// A volume made elsewhere, by `tests/known-answers/truecrypt.py`.
fn truecrypt(ctx: &Ctx) -> Result<()> {
    const MADE: &[u8] = include_bytes!("../../../../known-answers/truecrypt.bin");
    const DATA: u64 = 256;
    let lower = Kind::Ram.make()?;
    let raw = lower.open()?;
    let (header, data) = MADE.split_at(512);
    raw.write(0, header)?;
    raw.write(DATA, data)?;
    drop(raw);
    let node = lower.node();
    let args = [
        "open",
        "--type",
        "tcrypt",
        "--disable-veracrypt",
        &node,
        NAME,
    ];
    {
        let _provided = provide(ctx, Ours)?;
        let volume = plain_open(&args)?;
        let wanted = super::known_answers::plaintext();
        expect_equal(
            &volume.disk()?.read(0, data.len() as u64 / 512)?,
            &wanted,
            0,
        )?;
        volume.write(1)?;
    }
    let _provided = provide(ctx, InTree)?;
    let volume = plain_open(&args)?;
    volume.check(1)
}

/// Keys of loop-AES, version 3: 65 lines.
fn loop_aes(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let mut keys = NamedTempFile::new()?;
    for line in 0..65 {
        writeln!(keys, "{:064}", u64::from_le_bytes([line * 3 + 1; 8]))?;
    }
    let file = keys.path().display().to_string();
    let script = format!(
        "cryptsetup --batch-mode open --type loopaes --key-file {file} {} {NAME}",
        lower.node()
    );
    let open = || -> Result<Open> {
        process::run("sh", &["-c", &script])?;
        let mut open = Open { disk: None };
        open.disk = Some(Disk::open(&node(), Mode::Direct)?);
        Ok(open)
    };
    {
        let _provided = provide(ctx, Ours)?;
        open()?.write(1)?;
    }
    {
        let _provided = provide(ctx, InTree)?;
        let volume = open()?;
        volume.check(1)?;
        volume.write(2)?;
    }
    let _provided = provide(ctx, Ours)?;
    let volume = open()?;
    volume.check(2)
}

fn formatted(args: &[&str]) -> Result<Lower> {
    let lower = Kind::Ram.make()?;
    format(&lower, args)?;
    Ok(lower)
}

/// I/O waits while the key is gone, and goes on with it.
fn suspend(ctx: &Ctx) -> Result<()> {
    let _provided = provide(ctx, Ours)?;
    for args in [&["--type", "luks1"][..], &["--type", "luks2"]] {
        let lower = formatted(args)?;
        let volume = open(&lower)?;
        volume.write(1)?;
        cryptsetup(&["luksSuspend", NAME])?;
        let status = cryptsetup(&["status", NAME])?;
        ensure!(
            status.contains("(suspended)") || status.contains("is in use"),
            "{status}"
        );
        let table = process::run("dmsetup", &["table", "--showkeys", NAME])?;
        let key = table.split(' ').nth(4).context("no key")?;
        ensure!(
            key.bytes().all(|b| b == b'0') || key.starts_with(':'),
            "the key is there: {table}"
        );
        let reader = std::thread::spawn(|| -> Result<Vec<u8>> {
            Ok(Disk::open(&node(), Mode::Direct)?.read(0, 64)?)
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        let waits = !reader.is_finished();
        cryptsetup(&["luksResume", NAME])?;
        let read = reader.join().expect("no panic")?;
        ensure!(waits, "a read went through a suspended volume");
        expect_equal(&read, &pattern(1, 0, 64), 0)?;
        volume.check(1)?;
    }
    Ok(())
}

fn resize(ctx: &Ctx) -> Result<()> {
    let _provided = provide(ctx, Ours)?;
    for args in [
        &["--type", "luks2"][..],
        &["--type", "luks2", "--sector-size", "4096"],
    ] {
        let lower = formatted(args)?;
        let volume = open(&lower)?;
        volume.write(1)?;
        let whole = volume.disk()?.sectors()?;
        for sectors in [16_384, 20_480, whole] {
            cryptsetup(&["resize", "--size", &sectors.to_string(), NAME])?;
            let found = volume.disk()?.sectors()?;
            ensure!(found == sectors, "{found} sectors, not {sectors}");
            volume.check(1)?;
        }
    }
    Ok(())
}

/// Options that change under an open volume.
fn refresh(ctx: &Ctx) -> Result<()> {
    let _provided = provide(ctx, Ours)?;
    let lower = formatted(&["--type", "luks2", "--sector-size", "512"])?;
    let volume = open(&lower)?;
    volume.write(1)?;
    for (options, wanted) in [
        (&["--allow-discards"][..], "1 allow_discards"),
        (
            &["--perf-no_read_workqueue", "--perf-no_write_workqueue"],
            "2 no_read_workqueue no_write_workqueue",
        ),
        (&["--perf-same_cpu_crypt"], "1 same_cpu_crypt"),
        (
            &["--perf-submit_from_crypt_cpus"],
            "1 submit_from_crypt_cpus",
        ),
        (&[], ""),
    ] {
        cryptsetup(&[&["refresh"], options, &[NAME]].concat())?;
        let table = process::run("dmsetup", &["table", NAME])?;
        let found = table.trim().splitn(9, ' ').nth(8).unwrap_or_default();
        ensure!(found == wanted, "{table} after {options:?}");
        volume.check(1)?;
    }
    Ok(())
}

/// Another key, and another size of sectors, while the volume is read and written.
fn reencrypt(ctx: &Ctx) -> Result<()> {
    let lower = {
        let _provided = provide(ctx, Ours)?;
        let lower = formatted(&[
            "--type",
            "luks2",
            "--sector-size",
            "512",
            "--offset",
            "32768",
        ])?;
        let volume = open(&lower)?;
        volume.write(1)?;
        let stop = std::sync::atomic::AtomicBool::new(false);
        let done = std::thread::scope(|scope| -> Result<u32> {
            let io = scope.spawn(|| -> Result<u32> {
                let mut rounds = 0;
                let disk = Disk::open(&node(), Mode::Direct)?;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let sector = 20_000 + u64::from(rounds % 50) * 8;
                    let data = pattern(u64::from(rounds), sector, 8);
                    disk.write(sector, &data)?;
                    expect_equal(&disk.read(sector, 8)?, &data, sector)?;
                    expect_equal(&disk.read(1000, 64)?, &pattern(1, 1000, 64), 1000)?;
                    rounds += 1;
                }
                Ok(rounds)
            });
            let changed = cryptsetup(
                &[
                    FORMAT,
                    &[
                        "reencrypt",
                        "--active-name",
                        NAME,
                        "--resilience",
                        "checksum",
                    ],
                ]
                .concat(),
            );
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let rounds = io.join().expect("no panic")?;
            changed?;
            Ok(rounds)
        })?;
        ensure!(done > 3, "{done} rounds of I/O meanwhile");
        volume.check(1)?;
        drop(volume);
        open(&lower)?.check(1)?;
        lower
    };
    let _provided = provide(ctx, InTree)?;
    let volume = open(&lower)?;
    volume.check(1)
}

/// A device with data that is encrypted in place, and decrypted again.
fn encrypt_and_decrypt(ctx: &Ctx) -> Result<()> {
    let _provided = provide(ctx, Ours)?;
    let lower = Kind::Ram.make()?;
    let node = lower.node();
    let header = TempDir::new()?;
    let file = header.path().join("header").display().to_string();
    let raw = lower.open()?;
    raw.write(0, &pattern(1, 0, 2048))?;
    cryptsetup(
        &[
            FORMAT,
            &[
                "reencrypt",
                "--encrypt",
                "--type",
                "luks2",
                "--header",
                &file,
                &node,
            ],
        ]
        .concat(),
    )?;
    ensure!(raw.read(0, 64)? != pattern(1, 0, 64), "it is not encrypted");
    {
        let volume = Open::new(&["open", "--header", &file, &node, NAME])?;
        expect_equal(&volume.disk()?.read(0, 2048)?, &pattern(1, 0, 2048), 0)?;
    }
    cryptsetup(
        &[
            FORMAT,
            &["reencrypt", "--decrypt", "--header", &file, &node],
        ]
        .concat(),
    )?;
    expect_equal(&lower.open()?.read(0, 2048)?, &pattern(1, 0, 2048), 0)
}

/// Takes away all that stands on a disk that has gone.
fn take_away() -> Result<()> {
    for _ in 0..6 {
        let names = process::run("dmsetup", &["ls"])?;
        let names = names
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let ours: Vec<_> = names.filter(|name| name.starts_with(NAME)).collect();
        if ours.is_empty() {
            return Ok(());
        }
        for name in ours {
            // The upper ones hold the lower ones: what cannot go yet goes in the next round.
            let _ = process::output("dmsetup", &["wipe_table", "--noflush", name]);
            let _ = process::output("dmsetup", &["remove", name]);
        }
    }
    bail!("something still stands on the disk")
}

/// The disk loses power in the middle of a reencryption, and with it what it had not been told to
/// flush: the volume is opened again with the same data, and the reencryption goes on.
fn power_goes(ctx: &Ctx) -> Result<()> {
    const CUTS: usize = 30;
    let (mut gone, mut resumed) = (0, 0);
    let below = Kind::Ram.make()?;
    {
        let _provided = provide(ctx, Ours)?;
        ctx.module()?;
        let sectors = below.sectors();
        let params = format!("{} 0 2 seed 5", below.node());
        let power = MappedDevice::create(&[line(0, sectors, "rust-powercut", params)])?;
        // It looks a device up by the number that the table has.
        process::run("dmsetup", &["mknodes", power.name()])?;
        let node = format!("/dev/mapper/{}", power.name());
        let luks2 = [
            "luksFormat",
            "--type",
            "luks2",
            "--sector-size",
            "512",
            "--offset",
            "32768",
            &node,
        ];
        cryptsetup(&[FORMAT, &luks2[..]].concat())?;
        let mut rng = fastrand::Rng::with_seed(3);
        for round in 0..CUTS {
            let way = ["checksum", "journal"][round % 2];
            let mut volume = Open::new(&["open", &node, NAME])?;
            volume.write(round as u64)?;
            volume.disk()?.sync()?;
            power.message(0, &format!("powercut after {}", rng.u32(1..150)))?;
            let change = ["reencrypt", "--resilience", way];
            let few = ["--hotzone-size", "256K", &node];
            let ended = cryptsetup(&[FORMAT, &change[..], &few[..]].concat());
            let off = power.status()?[0].params.starts_with("off");
            if !off {
                // It was done before.
                ended?;
                power.message(0, "powercut after 0")?;
                volume.check(round as u64)?;
                continue;
            }
            gone += 1;
            // There is nothing to be closed any more.
            volume.disk = None;
            std::mem::forget(volume);
            take_away()?;
            power.message(0, "restore")?;
            let volume = Open::new(&["open", &node, NAME])?;
            let what = || format!("after cut {round}, resilience {way}");
            volume.check(round as u64).with_context(what)?;
            if process::run("cryptsetup", &["luksDump", &node])?.contains("reencrypt") {
                resumed += 1;
                let resume = ["reencrypt", "--resume-only", &node];
                cryptsetup(&resume).with_context(what)?;
                volume.check(round as u64).with_context(what)?;
            }
        }
        let volume = Open::new(&["open", &node, NAME])?;
        volume.write(77)?;
    }
    println!(
        "\n  the power went {gone} times in {CUTS} reencryptions, {resumed} of them were resumed"
    );
    ensure!(gone > 0 && resumed > 0, "{gone} cuts, {resumed} resumed");
    ctx.take_log("device-mapper: |I/O error|Buffer I/O")?;
    let _provided = provide(ctx, InTree)?;
    let volume = open(&below)?;
    volume.check(77)
}

/// Both cannot answer to one name: the second one says so.
fn beside(ctx: &Ctx) -> Result<()> {
    let Some(module) = &ctx.env.module else {
        return Err(skip("started without --module"));
    };
    let _provided = provide(ctx, InTree)?;
    let lower = Kind::Ram.make()?;
    format(&lower, &["--type", "luks1"])?;
    module.ensure_unloaded()?;
    let loaded = module.load_with(AS_CRYPT);
    ensure!(loaded.is_err(), "it was loaded beside the in-tree module");
    let log = ctx.take_log("(?i)crypt")?;
    ensure!(!log.is_empty(), "the log does not say why");
    ensure!(module.users().is_none(), "it is there all the same");
    // The in-tree one goes on.
    let volume = open(&lower)?;
    volume.write(1)
}

/// A directory with something mounted over it, until this is dropped.
struct Covered(&'static str);

impl Covered {
    fn new(dir: &'static str, args: &[&str]) -> Result<Covered> {
        process::run("mount", &[args, &[dir]].concat())?;
        Ok(Covered(dir))
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        if let Err(e) = process::run("umount", &[self.0]) {
            cleanup::left_behind(self.0, format!("{e:#}"));
        }
    }
}

/// Installed, and named in modprobe's configuration, the module is loaded when a table names
/// `crypt`, as README says.
fn on_demand(ctx: &Ctx) -> Result<()> {
    let module = ctx.module()?;
    let _provided = provide(ctx, Ours)?;
    module.ensure_unloaded()?;
    let scratch = Covered::new("/mnt", &["-t", "tmpfs", "tmpfs"])?;
    fs::create_dir_all("/mnt/upper")?;
    fs::create_dir_all("/mnt/work")?;
    let layers = "lowerdir=/usr/lib/modules,upperdir=/mnt/upper,workdir=/mnt/work";
    let modules = Covered::new(
        "/usr/lib/modules",
        &["-t", "overlay", "overlay", "-o", layers],
    )?;
    let settings = Covered::new("/etc/modprobe.d", &["-t", "tmpfs", "tmpfs"])?;
    let release = process::run("uname", &["-r"])?;
    let updates = format!("/usr/lib/modules/{}/updates", release.trim());
    fs::create_dir_all(&updates)?;
    fs::copy(module.path(), format!("{updates}/dm-rust.ko"))?;
    process::run("depmod", &[release.trim()])?;
    fs::write(
        "/etc/modprobe.d/dm-rust.conf",
        "alias dm-crypt dm_rust\noptions dm_rust as_crypt=1\n",
    )?;
    let lower = Kind::Ram.make()?;
    format(&lower, &["--type", "luks2"])?;
    ensure!(
        module.users().is_none(),
        "it was loaded before it was needed"
    );
    let volume = open(&lower)?;
    volume.write(1)?;
    volume.check(1)?;
    ensure!(module.users().is_some_and(|n| n > 0), "it was not loaded");
    ensure!(
        !Path::new("/sys/module/dm_crypt").exists(),
        "the in-tree module was"
    );
    drop(volume);
    drop((settings, modules, scratch));
    Ok(())
}
