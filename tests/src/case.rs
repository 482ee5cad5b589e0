// SPDX-License-Identifier: GPL-2.0

//! A test, and how it is run.

use crate::{
    cleanup,
    deadline::Deadline,
    dm,
    kmsg::KernelLog,
    module::{modprobe, Module},
};
use anyhow::{anyhow, ensure, Result};
use libtest_mimic::{Completion, Failed, Trial};
use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the tests were started with.
#[derive(Debug)]
pub struct Env {
    /// The module under test; `None` to compare the in-tree targets with themselves.
    pub module: Option<Module>,
    /// Where the in-tree targets are that the kernel was built without.
    pub twins: PathBuf,
    /// Where the module is whose targets are for tests only.
    pub probe: PathBuf,
    /// The `dmrs` tool, if its tests are to run.
    pub dmrs: Option<PathBuf>,
    /// Fail, rather than ignore, a test that lacks a device or a tool.
    pub require_all: bool,
    /// Whether a test is to try all that it can, however long that takes.
    pub long: bool,
}

impl Env {
    /// The name under which the in-tree target's counterpart is registered.
    pub fn target(&self, tree: &str) -> String {
        match self.module {
            Some(_) => format!("rust-{tree}"),
            None => tree.to_owned(),
        }
    }
}

static DURATIONS: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

struct Stopwatch(String, Instant);

impl Drop for Stopwatch {
    fn drop(&mut self) {
        let entry = (self.1.elapsed(), std::mem::take(&mut self.0));
        DURATIONS
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(entry);
    }
}

/// How long each test took that ran so far, the slowest first.
pub fn durations() -> Vec<(Duration, String)> {
    let mut all = DURATIONS.lock().unwrap_or_else(|e| e.into_inner()).clone();
    all.sort_by(|a, b| b.cmp(a));
    all
}

/// What a running test is given.
pub struct Ctx {
    /// What the tests were started with.
    pub env: Arc<Env>,
    log: RefCell<KernelLog>,
}

impl Ctx {
    /// Takes the lines of the kernel log that match the regular expression and
    /// that were written since the test began. What a test does not take, and
    /// comes from the module or device-mapper, fails it.
    pub fn take_log(&self, pattern: &str) -> Result<Vec<String>> {
        self.log.borrow_mut().take(pattern)
    }

    /// Takes all that the log says of the module and of device-mapper; reports
    /// of bugs are among it, but still fail the test.
    pub fn take_whole_log(&self) -> Result<Vec<String>> {
        self.log.borrow_mut().take_all()
    }

    /// Expects that a table was refused with an error, given by its name, and that the log gives the reason.
    ///
    /// # Errors
    /// Says what came instead.
    pub fn expect_refused(&self, loaded: io::Result<()>, errno: &str, reason: &str) -> Result<()> {
        let number = loaded.as_ref().err().and_then(io::Error::raw_os_error);
        let said = dm::outcome(loaded);
        ensure!(said == errno, "{said}, not {errno}");
        let log = self.take_log("^device-mapper: ")?.join("\n");
        // A kernel may be without the names of errors.
        let found = [errno.to_owned(), number.unwrap_or_default().to_string()]
            .iter()
            .any(|error| log.contains(&format!(": {reason} (-{error})")));
        ensure!(found, "no \"{reason}\" in the log: {log}");
        Ok(())
    }

    /// Forgets what the log says so far, for a test that wrote to it itself.
    pub fn forget_log(&self) -> Result<()> {
        self.log.borrow_mut().finish().map(drop)
    }

    /// The module under test.
    ///
    /// # Errors
    /// [`Skip`] if the in-tree targets are compared with themselves.
    pub fn module(&self) -> Result<&Module> {
        let module = self.env.module.as_ref();
        module.ok_or_else(|| skip("started without --module"))
    }
}

impl Ctx {
    /// Sees to it that an in-tree target is there: from a module of the kernel's, or one that was
    /// built from its source for these tests.
    pub fn need_twin(&self, name: &str) -> Result<()> {
        let is_there = || -> Result<bool> {
            let targets = crate::dm::targets()?;
            Ok(targets.iter().any(|(target, _)| target == name))
        };
        let module = format!("dm-{name}");
        if is_there()? || (modprobe(&module, &[]).is_ok() && is_there()?) {
            return Ok(());
        }
        let file = self.env.twins.join(format!("{module}.ko"));
        if !file.exists() {
            return Err(skip(format!("the kernel has no {module}, nor is it built")));
        }
        Module::new(&file).ensure_loaded()
    }
}

/// How many seconds a test was asked to take by an environment variable.
pub fn asked_seconds(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Why a test cannot be run on this boot.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Skip {}

/// The error with which a test says that it cannot be run, and why.
pub fn skip(why: impl Into<String>) -> anyhow::Error {
    Skip(why.into()).into()
}

type Run = dyn FnOnce(&Ctx) -> Result<()> + Send;

/// A test.
pub struct Case {
    name: String,
    limit: Duration,
    last: bool,
    in_each_part: bool,
    long: bool,
    run: Box<Run>,
}

/// A test that takes more than this many times its limit hangs: machines differ, and have other
/// things to do.
const PATIENCE: u32 = 5;

/// The same for kernels that watch all that they do: these are ten times as slow, some more.
const MORE_PATIENCE: u32 = 30;

/// What only such kernels have.
const WATCHERS: [&str; 2] = ["/sys/kernel/debug/kmemleak", "/sys/kernel/debug/kcsan"];

/// Whether the kernel watches all that it does, so that little is done in a second.
pub fn is_watched() -> bool {
    WATCHERS.iter().any(|file| Path::new(file).exists())
}

fn patience() -> u32 {
    if is_watched() {
        MORE_PATIENCE
    } else {
        PATIENCE
    }
}

/// A test with the usual limit of 60 seconds.
pub fn case(
    name: impl Into<String>,
    run: impl FnOnce(&Ctx) -> Result<()> + Send + 'static,
) -> Case {
    Case {
        name: name.into(),
        limit: Duration::from_secs(60),
        last: false,
        in_each_part: false,
        long: false,
        run: Box::new(run),
    }
}

impl Case {
    /// Changes the time that it takes at most, in seconds, on a machine that has little else to do.
    /// After some times that (see `patience`), it is taken to hang.
    pub fn limit(mut self, seconds: u64) -> Case {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has it begin with something else.
    pub fn after(mut self, first: impl FnOnce(&Ctx) -> Result<()> + Send + 'static) -> Case {
        let run = self.run;
        self.run = Box::new(move |ctx| {
            first(ctx)?;
            run(ctx)
        });
        self
    }

    /// Has it run after all others: it changes the kernel for good.
    pub fn last(mut self) -> Case {
        self.last = true;
        self
    }

    /// Has it run after all others, and in each part of them if guests share them out: it is about what
    /// they did.
    pub fn in_each_part(mut self) -> Case {
        self.in_each_part = true;
        self.last()
    }

    /// Has it run only where time does not matter: it takes long, and what it finds beyond the
    /// others is little.
    pub fn long(mut self) -> Case {
        self.long = true;
        self
    }

    /// Whether it is to be run only where time does not matter.
    pub fn is_long(&self) -> bool {
        self.long
    }

    /// Whether it is to be run after all others.
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// Whether it is to be run in each part of the tests.
    pub fn is_in_each_part(&self) -> bool {
        self.in_each_part
    }

    /// Makes it a trial of the test runner.
    pub fn into_trial(self, env: Arc<Env>) -> Trial {
        Trial::ignorable_test(self.name.clone(), move || {
            let require_all = env.require_all;
            match self.execute(env) {
                Ok(()) => Ok(Completion::Completed),
                Err(e) => match e.downcast_ref::<Skip>() {
                    Some(Skip(why)) if !require_all => Ok(Completion::ignored_with(why)),
                    _ => Err(Failed::from(format!("{e:#}"))),
                },
            }
        })
    }

    /// Runs it here and now, and judges the kernel log and what it left behind.
    pub fn execute(self, env: Arc<Env>) -> Result<()> {
        let _deadline = Deadline::arm(&self.name, self.limit * patience());
        let _stopwatch = Stopwatch(self.name.clone(), Instant::now());
        // For who reads the whole log. What the kernel says of this test comes after it.
        let _ = fs::write("/dev/kmsg", format!("<6>guest-tests: {}\n", self.name));
        let ctx = Ctx {
            env,
            log: RefCell::new(KernelLog::open()?),
        };
        // A panic must not keep the log from being judged: what the kernel said
        // is the best hint at why.
        let run = catch_unwind(AssertUnwindSafe(|| (self.run)(&ctx)));
        let log = ctx.log.borrow_mut().finish()?;
        let left = cleanup::take();
        let mut complaints = Vec::new();
        match run {
            Ok(Ok(())) => {}
            Ok(Err(e)) if log.is_empty() && left.is_empty() => return Err(e),
            Ok(Err(e)) => complaints.push(format!("{e:#}")),
            Err(panic) if log.is_empty() && left.is_empty() => resume_unwind(panic),
            Err(_) => complaints.push("the test panicked (message above)".into()),
        }
        complaints.extend(left);
        const MOST: usize = 20;
        if log.len() > MOST {
            complaints.push(format!("{} unexpected lines in the kernel log", log.len()));
        }
        complaints.extend(
            log.into_iter()
                .take(MOST)
                .map(|l| format!("unexpected in the kernel log: {l}")),
        );
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(anyhow!(complaints.join("\n"))),
        }
    }
}
