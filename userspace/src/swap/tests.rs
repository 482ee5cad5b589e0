// SPDX-License-Identifier: GPL-2.0

use std::cell::{Cell, RefCell};

use nix::errno::Errno;

use super::*;
use crate::{
    error::{Action, Refusal},
    name,
};

const BEFORE: &str = "0 8 linear 8:0 0\n8 8 crypt aes beef 0 8:0 8";
const AFTER: &str = "0 8 rust-linear 8:0 0\n8 8 rust-crypt aes beef 0 8:0 8";

/// A device as the kernel keeps it, in which a call fails that was chosen.
struct Fake {
    live: RefCell<Table>,
    inactive: RefCell<Option<Table>>,
    suspended: Cell<bool>,
    calls: Cell<usize>,
    fails: Vec<usize>,
    /// What the kernel does when it cannot exchange the tables: it drops the new one, and leaves
    /// the device suspended.
    exchange_fails: Cell<bool>,
}

impl Fake {
    fn new(fails: &[usize]) -> Fake {
        Fake {
            live: RefCell::new(Table::parse(BEFORE).unwrap()),
            inactive: RefCell::new(None),
            suspended: Cell::new(false),
            calls: Cell::new(0),
            fails: fails.to_vec(),
            exchange_fails: Cell::new(false),
        }
    }

    fn call(&self, action: Action) -> Result<()> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        match self.fails.contains(&call) {
            true => Err(refused(action)),
            false => Ok(()),
        }
    }

    /// As before, and running.
    fn is_untouched(&self) -> bool {
        *self.live.borrow() == Table::parse(BEFORE).unwrap()
            && self.inactive.borrow().is_none()
            && !self.suspended.get()
    }
}

fn refused(action: Action) -> Error {
    Error::Refused(Box::new(Refusal::new(action, None, Errno::EIO)))
}

impl Hands for Fake {
    fn info(&self) -> Result<Info> {
        self.call(Action::Info)?;
        Ok(Info {
            name: name::device_name("fake").unwrap(),
            uuid: None,
            device: Device {
                major: 253,
                minor: 0,
            },
            open_count: 1,
            event_nr: 0,
            target_count: 2,
            suspended: self.suspended.get(),
            read_only: false,
            live_table: true,
            inactive_table: self.inactive.borrow().is_some(),
            deferred_remove: false,
        })
    }

    fn table(&self, slot: Slot) -> Result<Table> {
        self.call(Action::Table)?;
        Ok(match slot {
            Slot::Live => self.live.borrow().clone(),
            Slot::Inactive => self.inactive.borrow().clone().unwrap_or_default(),
        })
    }

    fn has_target(&self, name: &str) -> Result<bool> {
        self.call(Action::Targets)?;
        Ok(["rust-linear", "rust-crypt", "linear", "crypt"].contains(&name))
    }

    fn load(&self, table: &Table, _: Access) -> Result<()> {
        self.call(Action::Load)?;
        *self.inactive.borrow_mut() = Some(table.clone());
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        self.call(Action::Resume)?;
        if let Some(table) = self.inactive.borrow_mut().take() {
            if self.exchange_fails.get() {
                self.suspended.set(true);
                return Err(refused(Action::Resume));
            }
            *self.live.borrow_mut() = table;
        }
        self.suspended.set(false);
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        self.call(Action::Clear)?;
        *self.inactive.borrow_mut() = None;
        Ok(())
    }
}

fn swap(fake: &Fake, to: Language) -> Result<()> {
    execute(fake, &plan(fake, to)?)
}

#[test]
fn there_and_back() {
    let fake = Fake::new(&[]);
    swap(&fake, Language::Rust).unwrap();
    assert_eq!(*fake.live.borrow(), Table::parse(AFTER).unwrap());
    assert!(fake.inactive.borrow().is_none());
    let calls = fake.calls.get();
    swap(&fake, Language::C).unwrap();
    assert!(fake.is_untouched());
    assert!(fake.calls.get() > calls);
}

#[test]
fn any_step_that_fails_leaves_all_as_it_was() {
    let count = {
        let fake = Fake::new(&[]);
        swap(&fake, Language::Rust).unwrap();
        fake.calls.get()
    };
    assert!(count > 5, "{count} calls are too few to be all steps");
    for call in 0..count {
        let fake = Fake::new(&[call]);
        assert!(swap(&fake, Language::Rust).is_err(), "call {call}");
        assert!(fake.is_untouched(), "after call {call} failed");
    }
}

#[test]
fn a_failure_while_undoing_is_made_up_for() {
    let count = {
        let fake = Fake::new(&[]);
        fake.exchange_fails.set(true);
        assert!(swap(&fake, Language::Rust).is_err());
        assert!(fake.is_untouched());
        fake.calls.get()
    };
    for call in 0..count {
        let fake = Fake::new(&[call]);
        fake.exchange_fails.set(true);
        assert!(swap(&fake, Language::Rust).is_err());
        assert!(fake.is_untouched(), "after call {call} failed");
    }
}

#[test]
fn what_cannot_be_undone_is_told() {
    // All calls from the one that exchanges the tables on.
    let fake = Fake::new(&(7..100).collect::<Vec<_>>());
    match swap(&fake, Language::Rust) {
        Err(Error::SwapStuck { left, .. }) => assert!(left.contains("dmrs clear 253:0"), "{left}"),
        other => panic!("{other:?} after {} calls", fake.calls.get()),
    }
}

#[test]
fn what_a_killed_swap_left_is_discarded() {
    for to in [Language::Rust, Language::C] {
        let fake = Fake::new(&[]);
        *fake.inactive.borrow_mut() = Some(Table::parse(AFTER).unwrap());
        swap(&fake, to).unwrap();
        assert!(fake.inactive.borrow().is_none());
        let live = if to == Language::C { BEFORE } else { AFTER };
        assert_eq!(*fake.live.borrow(), Table::parse(live).unwrap());
    }
}

#[test]
fn what_someone_else_has_loaded_is_left_alone() {
    let fake = Fake::new(&[]);
    let other = Table::parse("0 16 linear 8:0 8").unwrap();
    *fake.inactive.borrow_mut() = Some(other.clone());
    assert!(matches!(
        swap(&fake, Language::Rust),
        Err(Error::NotSwappable(..))
    ));
    assert_eq!(*fake.inactive.borrow(), Some(other));
}

#[test]
fn a_target_without_a_twin_keeps_all_from_being_swapped() {
    let fake = Fake::new(&[]);
    *fake.live.borrow_mut() = Table::parse("0 8 linear 8:0 0\n8 8 raid x").unwrap();
    match swap(&fake, Language::Rust) {
        Err(Error::NoTwin { targets, .. }) => assert_eq!(targets, ["raid"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_suspended_device_is_left_so() {
    let fake = Fake::new(&[]);
    fake.suspended.set(true);
    assert!(swap(&fake, Language::Rust).is_err());
    assert!(fake.suspended.get());
}
