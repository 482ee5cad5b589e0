// SPDX-License-Identifier: GPL-2.0
/*
 * Does what a broken module does, to see whether the runner notices (qemu/test-runner).
 * Never part of dm-rust.ko.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "warn, oops, hang-one, hang-all, block, or what a debug kernel finds");

static void spin(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

/* What only a kernel with debugging switched on notices. */

static void out_of_bounds(void)
{
	char *bytes = kmalloc(100, GFP_KERNEL);

	if (!bytes)
		return;
	OPTIMIZER_HIDE_VAR(bytes);
	WRITE_ONCE(bytes[100], 1);
	kfree(bytes);
}

static void use_after_free(void)
{
	char *bytes = kmalloc(100, GFP_KERNEL);

	if (!bytes)
		return;
	kfree(bytes);
	OPTIMIZER_HIDE_VAR(bytes);
	(void)READ_ONCE(bytes[10]);
}

static void leak(void)
{
	void *volatile lost;
	int i;

	/* Several, since a scan may take a stale word on a stack for a pointer to one. */
	for (i = 0; i < 20; i++) {
		lost = kmalloc(333, GFP_KERNEL);
		lost = NULL;
	}
	(void)lost;
}

static void lock_inversion(void)
{
	static DEFINE_MUTEX(first);
	static DEFINE_MUTEX(second);

	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void sleep_in_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	msleep(1);
	spin_unlock(&lock);
}

/* In racer.rs. */
void rust_racer(u64 *word);

static u64 raced;

static noinline void c_racer(u64 *word)
{
	(*word)++;
}

static int race(void *racer)
{
	while (!kthread_should_stop()) {
		((void (*)(u64 *))racer)(&raced);
		cond_resched();
	}
	return 0;
}

static void race_two(void (*racer)(u64 *))
{
	struct task_struct *other = kthread_run(race, racer, "trouble-racer");
	unsigned long end = jiffies + 20 * HZ;

	if (IS_ERR(other))
		return;
	while (time_before(jiffies, end)) {
		racer(&raced);
		cond_resched();
	}
	kthread_stop(other);
}

static void racing(void)
{
	race_two(c_racer);
}

static void racing_in_rust(void)
{
	race_two(rust_racer);
}

static void list_corruption(void)
{
	static LIST_HEAD(head);
	static struct list_head entry;

	list_add(&entry, &head);
	head.next = &head;
	list_del(&entry);
}

static void beyond_array(void)
{
	static int numbers[4];
	static int at = 5;

	OPTIMIZER_HIDE_VAR(at);
	pr_info("trouble: %d\n", READ_ONCE(numbers[at]));
}

static void run_never(struct work_struct *work)
{
}

static void object_in_use(void)
{
	struct delayed_work *work = kzalloc(sizeof(*work), GFP_KERNEL);

	if (!work)
		return;
	INIT_DELAYED_WORK(work, run_never);
	schedule_delayed_work(work, 1000 * HZ);
	kfree(work);
}

static void scatterlist(void)
{
	struct scatterlist list[1] = {};
	struct page *page;

	/* A link to another list has no page. */
	list[0].page_link = SG_CHAIN;
	OPTIMIZER_HIDE_VAR(list[0].page_link);
	page = sg_page(list);
	OPTIMIZER_HIDE_VAR(page);
}

static int __init trouble_init(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} found[] = {
		{ "out-of-bounds", out_of_bounds },
		{ "use-after-free", use_after_free },
		{ "leak", leak },
		{ "lock-inversion", lock_inversion },
		{ "sleep-in-atomic", sleep_in_atomic },
		{ "data-race", racing },
		{ "rust-data-race", racing_in_rust },
		{ "list-corruption", list_corruption },
		{ "beyond-array", beyond_array },
		{ "object-in-use", object_in_use },
		{ "scatterlist", scatterlist },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(found); i++)
		if (!strcmp(what, found[i].name)) {
			found[i].run();
			return -ECANCELED;
		}
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
