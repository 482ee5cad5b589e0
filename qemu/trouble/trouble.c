// SPDX-License-Identifier: GPL-2.0
/*
 * Does what a broken module does, to see whether the runner notices (qemu/test-runner).
 * Never part of dm-rust.ko.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/string.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "warn, oops, hang-one, hang-all or block");

static void spin(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static int __init trouble_init(void)
{
	if (!strcmp(what, "warn"))
		WARN(1, "planted by trouble.ko\n");
	else if (!strcmp(what, "oops"))
		*(volatile int *)8 = 0;
	else if (!strcmp(what, "hang-one"))
		spin(NULL);
	else if (!strcmp(what, "hang-all"))
		on_each_cpu(spin, NULL, 0);
	else if (!strcmp(what, "block"))
		for (;;) {
			__set_current_state(TASK_UNINTERRUPTIBLE);
			schedule();
		}
	else
		return -EINVAL;
	/* Nothing is to stay loaded. */
	return -ECANCELED;
}
module_init(trouble_init);

MODULE_DESCRIPTION("Breaks the kernel it is loaded into");
MODULE_LICENSE("GPL");
