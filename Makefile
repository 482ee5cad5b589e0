# SPDX-License-Identifier: GPL-2.0
#
# The commands of this project; `make help` lists them. Kbuild reads the file `Kbuild`, not this one.

MAKEFLAGS += --no-print-directory
export T QUICK PROFILE

# The oldest kernel that the module's sources are written for.
OLDEST_KERNEL := 7.2

# Named in the environment or on the command line, these reach the kernel's build system.
TOOLCHAIN := $(foreach name,RUSTC BINDGEN LLVM,$(if $($(name)),$(name)="$($(name))"))

# Where `make KDIR=...` builds: not among the sources, which then serve any number of kernels.
NATIVE := build/native

.PHONY: all
all:
ifdef KDIR
# For a kernel of one's own: natively, by that kernel's build system.
	@qemu/kdir-check "$(KDIR)" $(OLDEST_KERNEL)
	@mkdir -p $(NATIVE)
	$(MAKE) -C "$(KDIR)" M="$(CURDIR)" MO="$(CURDIR)/$(NATIVE)" $(TOOLCHAIN) modules
	@ln -sfn $(NATIVE)/dm-rust.ko dm-rust.ko
	@echo "Built dm-rust.ko. Load it with: sudo modprobe dm-mod && sudo insmod dm-rust.ko"
else
	@qemu/build
	@echo "Built build/dm-rust.ko (for $$(basename "$$(dirname "$$(readlink build/dm-rust.ko)")")) and build/dmrs. See them at work: make run"
endif

.PHONY: run
run:
	@qemu/run

.PHONY: shell
shell:
	@qemu/build
	@qemu/boot --shell -- /dm-rust/qemu/shell

.PHONY: test
test:
	@qemu/test $(if $(T),"$$T")

# Measures the targets beside their twins: build/bench/report.html.
.PHONY: bench
bench:
	@qemu/bench

# Compares what was measured last with the baseline; fails on what got slower.
.PHONY: bench-compare
bench-compare:
	@qemu/bench --compare

# Takes what was measured last for the baseline, and its table into README.md.
.PHONY: bench-accept
bench-accept:
	@qemu/bench --accept

# Shows that a guest that panics, hangs, warns or exits with an error is noticed.
.PHONY: test-runner
test-runner:
	@qemu/test-runner $(if $(T),"$$T")

# All packaged kernels with Rust: builds the module for each, tests it there, and prints a table. BUILD=1 builds only.
.PHONY: matrix
matrix:
	@qemu/matrix $(K)

# Power cuts: QEMU is killed under load, N times, and what was flushed is looked for.
.PHONY: test-kill
test-kill:
	@qemu/test-kill $(N)

# cryptsetup's own test suite, with rust-crypt as `crypt`; TWIN=1 runs it with the in-tree target.
.PHONY: test-cryptsetup
test-cryptsetup:
	@qemu/test-cryptsetup $(if $(T),"$$T")

# LVM's own test suite on the module's targets; TWIN=1 runs it on the in-tree ones.
.PHONY: test-lvm
test-lvm:
	@qemu/test-lvm $(if $(T),"$$T")

.PHONY: check
check:
	@qemu/check

.PHONY: setup
setup:
	@qemu/setup

.PHONY: update
update:
	@qemu/setup --again

.PHONY: rust-analyzer
rust-analyzer:
	@qemu/rust-analyzer $(KDIR)

# Installs what `make KDIR=...` built. INSTALL_MOD_PATH and the other variables of the kernel's build system are heeded.
.PHONY: modules_install
modules_install: KDIR ?= /lib/modules/$(shell uname -r)/build
modules_install:
	@test -e $(NATIVE)/dm-rust.ko || { \
		echo "error: there is no dm-rust.ko to install. Build it first: make KDIR=$(KDIR)" >&2; exit 1; }
	$(MAKE) -C "$(KDIR)" M="$(CURDIR)" MO="$(CURDIR)/$(NATIVE)" modules_install

# Installs the tool, its manual pages and completions. With KDIR it is built natively, like the module, and otherwise in the
# root, for the libc of that Debian release.
PREFIX ?= /usr/local
INSTALL ?= install
STAGED := build/install

.PHONY: install
install:
ifdef KDIR
	cargo build --release --locked --package dmrs
	@userspace/stage $(STAGED) "$${CARGO_TARGET_DIR:-target}/release/dmrs"
else
	@qemu/build
	@qemu/enter userspace/stage $(STAGED) build/dmrs
endif
	$(INSTALL) -D -m 755 $(STAGED)/dmrs "$(DESTDIR)$(PREFIX)/sbin/dmrs"
	$(INSTALL) -d "$(DESTDIR)$(PREFIX)/share/man/man8"
	$(INSTALL) -m 644 $(STAGED)/man/*.8 "$(DESTDIR)$(PREFIX)/share/man/man8"
	$(INSTALL) -D -m 644 $(STAGED)/dmrs.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/dmrs"
	$(INSTALL) -D -m 644 $(STAGED)/_dmrs "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_dmrs"
	$(INSTALL) -D -m 644 $(STAGED)/dmrs.fish "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/dmrs.fish"

.PHONY: clean
clean:
	@qemu/clean

.PHONY: distclean
distclean:
	@qemu/clean --all

.PHONY: help
help:
	@sed 's/^\t//' qemu/help
