// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU that counts how often each block of the guest's code is executed, between marks
 * in that code (see src/clock.rs). It writes lines of
 *   WINDOW ADDRESS INSTRUCTIONS
 * to the file that the argument out= names. qemu/bench builds it in the root.
 *
 * QEMU's header for plugins is not packaged; what is used of it is declared here (version 4 of its
 * interface, which later ones still serve).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*exec_cb)(unsigned int vcpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_cb cb, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb cb, int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);

EXPORT int qemu_plugin_version = 4;

struct block {
	struct block *next;
	uint64_t address;
	uint64_t instructions;
	uint64_t count;
};

static struct block *blocks;
static FILE *out;
static bool counting;
static unsigned int window;

static const unsigned char mark[] = { 0x0f, 0x1f, 0x84, 0x00 };
static const unsigned char start[] = { 0x01, 0x00, 0x6d, 0x64 };
static const unsigned char stop[] = { 0x02, 0x00, 0x6d, 0x64 };

/* The guest has one CPU, which one thread of QEMU executes. */
static void on_block(unsigned int vcpu, void *data)
{
	struct block *block = data;

	if (counting)
		block->count++;
}

static void on_start(unsigned int vcpu, void *data)
{
	counting = true;
}

static void on_stop(unsigned int vcpu, void *data)
{
	counting = false;
	for (struct block *block = blocks; block; block = block->next) {
		if (block->count)
			fprintf(out, "%u %" PRIx64 " %" PRIu64 "\n", window, block->address,
				block->count * block->instructions);
		block->count = 0;
	}
	fflush(out);
	window++;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block));

	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->instructions = n;
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);

	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		unsigned char bytes[8];

		if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes) ||
		    memcmp(bytes, mark, sizeof(mark)))
			continue;
		if (!memcmp(bytes + sizeof(mark), start, sizeof(start)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_start, QEMU_PLUGIN_CB_NO_REGS, NULL);
		else if (!memcmp(bytes + sizeof(mark), stop, sizeof(stop)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_stop, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out) {
		fprintf(stderr, "profile: name a file that can be written, out=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
