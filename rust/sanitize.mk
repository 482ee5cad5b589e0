# SPDX-License-Identifier: GPL-2.0
# For Kbuild files: what Rust code is compiled with for kernels that watch it.

# KCSAN instruments C code. Its functions serve Rust code as well, if the kernel's Rust target knows the sanitizer
# (qemu/setup-kernel sees to that). The options are those of scripts/Makefile.kcsan.
dm_rust_kcsan := $(if $(CONFIG_KCSAN),$(shell grep -so '"thread"' $(objtree)/scripts/target.json))
rustflags-$(if $(dm_rust_kcsan),y) += -Zsanitizer=thread -Cllvm-args=-tsan-compound-read-before-write=1 \
	-Cllvm-args=-tsan-distinguish-volatile=1 -Cllvm-args=-tsan-instrument-func-entry-exit=0
