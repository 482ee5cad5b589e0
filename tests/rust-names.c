// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded into programs that know the in-tree targets only: where they load a table with the name of
 * one of those, the kernel is given the name of the module's, and they see the name that they gave in
 * what they read back. So unmodified LVM and dmsetup run on dm-rust.
 */
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PREFIX "rust-"

static const char *const names[] = {
	"linear", "striped", "error", "zero", "delay", "flakey", "dust", "crypt",
};

static int is_twin(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return 1;
	return 0;
}

static void to_rust(struct dm_target_spec *spec)
{
	char name[DM_MAX_TYPE_NAME] = PREFIX;

	if (strnlen(spec->target_type, sizeof(name)) < sizeof(name) && is_twin(spec->target_type)) {
		strncat(name, spec->target_type, sizeof(name) - sizeof(PREFIX));
		memcpy(spec->target_type, name, sizeof(name));
	}
}

static void from_rust(struct dm_target_spec *spec)
{
	const char *rest = spec->target_type + sizeof(PREFIX) - 1;

	if (!strncmp(spec->target_type, PREFIX, sizeof(PREFIX) - 1) && is_twin(rest))
		memmove(spec->target_type, rest, strlen(rest) + 1);
}

/* The offsets of a table that is loaded count from the line before, those of one that is read from the first. */
static void each(struct dm_ioctl *dmi, int loads, void (*rename)(struct dm_target_spec *))
{
	size_t at = dmi->data_start, base = at;

	for (unsigned int i = 0; i < dmi->target_count; i++) {
		struct dm_target_spec *spec = (void *)((char *)dmi + at);

		if (at < sizeof(*dmi) || at + sizeof(*spec) > dmi->data_size)
			return;
		rename(spec);
		at = (loads ? at : base) + spec->next;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	if (request == DM_TABLE_LOAD)
		each(arg, 1, to_rust);
	ret = syscall(SYS_ioctl, fd, request, arg);
	if (!ret && (request == DM_TABLE_STATUS || request == DM_DEV_WAIT)) {
		struct dm_ioctl *dmi = arg;

		if (!(dmi->flags & DM_BUFFER_FULL_FLAG))
			each(dmi, 0, from_rust);
	}
	return ret;
}
