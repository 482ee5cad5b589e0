// SPDX-License-Identifier: GPL-2.0
/*
 * Static inlines of the kernel's headers, made callable from Rust. Only those
 * that are not on a hot path: the others are written out in inline.rs.
 */
#include "bindings_helper.h"

#include <crypto/aes.h>
#include <crypto/hash.h>
#include <crypto/md5.h>
#include <keys/encrypted-type.h>
#include <keys/trusted-type.h>
#include <keys/user-type.h>
#include <linux/blk-integrity.h>
#include <linux/blkdev.h>
#include <linux/fips.h>
#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/idr.h>
#include <linux/key-type.h>
#include <linux/key.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/sched/mm.h>

sector_t dm_rust_helper_bdev_nr_sectors(struct block_device *bdev)
{
	return bdev_nr_sectors(bdev);
}

sector_t dm_rust_helper_get_start_sect(struct block_device *bdev)
{
	return get_start_sect(bdev);
}

dev_t dm_rust_helper_bio_dev(const struct bio *bio)
{
	return bio_dev(bio);
}

void dm_rust_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool dm_rust_helper_schedule_work(struct work_struct *work)
{
	return schedule_work(work);
}

void dm_rust_helper_warn(const char *target, const char *message)
{
	printk(KERN_WARNING DM_NAME ": %s: %s\n", target, message);
}

void dm_rust_helper_info(const char *target, const char *message)
{
	printk(KERN_INFO DM_NAME ": %s: %s\n", target, message);
}

void dm_rust_helper_log(const char *level, const char *target, const void *text)
{
	printk("%s" DM_NAME ": %s: %pA\n", level, target, text);
}

void dm_rust_helper_err(const char *target, const char *message)
{
	printk(KERN_ERR DM_NAME ": %s: %s\n", target, message);
}

void dm_rust_helper_integrity_error(const char *target,
				    struct block_device *bdev, sector_t sector)
{
	printk_ratelimited(KERN_ERR DM_NAME
			   ": %s: %pg: INTEGRITY AEAD ERROR, sector %llu\n",
			   target, bdev, (unsigned long long)sector);
}

bool dm_rust_helper_in_hardirq_or_irqs_off(void)
{
	return in_hardirq() || irqs_disabled();
}


bool dm_rust_helper_cond_resched(void)
{
	return cond_resched();
}

bool dm_rust_helper_bdev_is_zoned(struct block_device *bdev)
{
	return bdev_is_zoned(bdev);
}

unsigned int dm_rust_helper_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

bool dm_rust_helper_integrity_profile(struct block_device *bdev,
				      unsigned int *metadata_size,
				      unsigned int *interval_exp, bool *plain)
{
#ifdef CONFIG_BLK_DEV_INTEGRITY
	struct blk_integrity *bi = blk_get_integrity(bdev->bd_disk);

	if (!bi)
		return false;
	*metadata_size = bi->metadata_size;
	*interval_exp = bi->interval_exp;
	*plain = bi->csum_type == BLK_INTEGRITY_CSUM_NONE;
	return true;
#else
	return false;
#endif
}

int dm_rust_helper_add_integrity(struct bio *bio, void *tags, unsigned int len)
{
	struct bio_integrity_payload *bip = bio_integrity_alloc(bio, GFP_NOIO, 1);

	if (IS_ERR(bip))
		return PTR_ERR(bip);
	bip->bip_iter.bi_sector = bio->bi_iter.bi_sector;
	if (bio_integrity_add_page(bio, virt_to_page(tags), len,
				   offset_in_page(tags)) != len)
		return -ENOMEM;
	return 0;
}

bool dm_rust_helper_preemptible(void)
{
	return preemptible();
}

bool dm_rust_helper_bdev_rotates(struct block_device *bdev)
{
	return bdev_rot(bdev);
}

bool dm_rust_helper_bdev_synchronous(struct block_device *bdev)
{
	return bdev_synchronous(bdev);
}

void dm_rust_helper_memzero_explicit(void *s, size_t count)
{
	memzero_explicit(s, count);
}

struct page *dm_rust_helper_zero_page(void)
{
	return ZERO_PAGE(0);
}

void *dm_rust_helper_page_address(struct page *page)
{
	return page_address(page);
}

struct page *dm_rust_helper_virt_to_page(const void *address)
{
	return virt_to_page(address);
}

bool dm_rust_helper_counter_init(struct percpu_counter *counter)
{
	return !percpu_counter_init(counter, 0, GFP_KERNEL);
}

void dm_rust_helper_counter_add(struct percpu_counter *counter, s64 amount)
{
	percpu_counter_add(counter, amount);
}

s64 dm_rust_helper_counter_read_positive(struct percpu_counter *counter)
{
	return percpu_counter_read_positive(counter);
}

unsigned long dm_rust_helper_lowmem_pages(void)
{
	return totalram_pages() - totalhigh_pages();
}

unsigned int dm_rust_helper_compound_order(struct page *page)
{
	return compound_order(page);
}

void dm_rust_helper_free_pages(struct page *page, unsigned int len, mempool_t *pool,
			       struct percpu_counter *counter)
{
	struct page *end = page + DIV_ROUND_UP(len, PAGE_SIZE);

	/* Pages that lie next to each other may have become one entry of a bio. */
	while (page < end) {
		unsigned int pages = 1 << compound_order(page);
		struct page *next = page + pages;

		if (pages > 1) {
			percpu_counter_sub(counter, pages);
			put_page(page);
		} else {
			mempool_free(page, pool);
		}
		page = next;
	}
}

struct page *dm_rust_helper_alloc_compound(gfp_t gfp, unsigned int order)
{
	return alloc_pages(gfp | __GFP_NOMEMALLOC | __GFP_NORETRY |
			   __GFP_NOWARN | __GFP_COMP, order);
}

struct bio *dm_rust_helper_new_bio(struct block_device *bdev, unsigned short vecs,
				   blk_opf_t opf, gfp_t gfp)
{
	struct bio *bio = bio_kmalloc(vecs, gfp);

	if (bio)
		bio_init_inline(bio, bdev, vecs, opf);
	return bio;
}

void dm_rust_helper_free_bio(struct bio *bio)
{
	unsigned int i;

	for (i = 0; i < bio->bi_vcnt; i++)
		put_page(bio->bi_io_vec[i].bv_page);
	bio_uninit(bio);
	kfree(bio);
}

struct workqueue_struct *dm_rust_helper_queue(const char *prefix, const char *name,
					      int id, bool high_priority,
					      bool per_cpu, bool cpu_intensive,
					      int max_active)
{
	unsigned int flags = WQ_MEM_RECLAIM | WQ_SYSFS;

	flags |= high_priority ? WQ_HIGHPRI : 0;
	flags |= per_cpu ? WQ_PERCPU : WQ_UNBOUND;
	flags |= cpu_intensive ? WQ_CPU_INTENSIVE : 0;
	/*
	 * The letter tells them from those of the in-tree target, whose numbers are its own: a
	 * device that is changing from one to the other has both, and sysfs takes no name twice.
	 */
	return alloc_workqueue("%s-%s-r%d", flags,
			       max_active ?: num_online_cpus(), prefix, name, id);
}

/* Names of queues end in a number, since two tables of a device may be there at once. */
static DEFINE_IDA(dm_rust_queue_ids);

int dm_rust_helper_queue_id(void)
{
	return ida_alloc_min(&dm_rust_queue_ids, 1, GFP_KERNEL);
}

void dm_rust_helper_put_queue_id(int id)
{
	ida_free(&dm_rust_queue_ids, id);
}

struct task_struct *dm_rust_helper_thread(int (*function)(void *data), void *data,
					  const char *prefix, const char *name)
{
	struct task_struct *task =
		kthread_create(function, data, "%s/%s", prefix, name);

	return task;
}

/* Sleeps until the list holds something or the thread is to stop. */
void dm_rust_helper_thread_wait(struct llist_head *list)
{
	set_current_state(TASK_INTERRUPTIBLE);
	if (llist_empty(list) && !kthread_should_stop())
		schedule();
	__set_current_state(TASK_RUNNING);
}

unsigned int dm_rust_helper_noio_save(void)
{
	return memalloc_noio_save();
}

void dm_rust_helper_noio_restore(unsigned int before)
{
	memalloc_noio_restore(before);
}

bool dm_rust_helper_may_wait_for_io(void)
{
	return !current->bio_list && in_task() && !irqs_disabled();
}

void dm_rust_helper_copy_page(struct page *to, size_t to_offset,
			      struct page *from, size_t from_offset, size_t len)
{
	memcpy_page(to, to_offset, from, from_offset, len);
}

void dm_rust_helper_about_to_sleep(void)
{
	set_current_state(TASK_INTERRUPTIBLE);
}

void dm_rust_helper_stay_awake(void)
{
	__set_current_state(TASK_RUNNING);
}

/* After dm_rust_helper_about_to_sleep(): returns when it is time or the task was woken. */
void dm_rust_helper_sleep_until(u64 nanoseconds)
{
	ktime_t time = nanoseconds;

	if (nanoseconds > KTIME_MAX)
		schedule();
	else
		schedule_hrtimeout(&time, HRTIMER_MODE_ABS);
	__set_current_state(TASK_RUNNING);
}

/*
 * What runs in soft interrupts is of a class of its own to lockdep: it is made here, since the same
 * bio may be given to a thread by INIT_WORK() elsewhere.
 */
void dm_rust_helper_queue_bh_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
	queue_work(system_bh_wq, work);
}

bool dm_rust_helper_md5(u8 out[16], const u8 *seed, size_t seed_len,
			const u8 *data, size_t len, const u8 *tail,
			size_t tail_len)
{
#if IS_ENABLED(CONFIG_CRYPTO_LIB_MD5)
	struct md5_ctx ctx;
	int i;

	md5_init(&ctx);
	md5_update(&ctx, seed, seed_len);
	md5_update(&ctx, data, len);
	md5_update(&ctx, tail, tail_len);
	/* The state as it is: what loop-AES takes is not padded. */
	for (i = 0; i < 4; i++)
		put_unaligned_le32(ctx.state.h[i], out + 4 * i);
	memzero_explicit(&ctx, sizeof(ctx));
	return true;
#else
	return false;
#endif
}

size_t dm_rust_helper_aes_schedule_size(void)
{
	return sizeof(struct aes_enckey);
}

bool dm_rust_helper_aes_schedule(void *schedule, const u8 *key, size_t len)
{
#if IS_ENABLED(CONFIG_CRYPTO_LIB_AES)
	return !aes_prepareenckey(schedule, key, len);
#else
	return false;
#endif
}

void dm_rust_helper_aes_encrypt(const void *schedule, u8 out[16], const u8 in[16])
{
#if IS_ENABLED(CONFIG_CRYPTO_LIB_AES)
	const struct aes_enckey *key = schedule;

	aes_encrypt(key, out, in);
#endif
}

bool dm_rust_helper_fips_enabled(void)
{
	return fips_enabled;
}

int dm_rust_helper_mac_size(const char *name)
{
	struct crypto_ahash *mac = crypto_alloc_ahash(name, 0, CRYPTO_ALG_ALLOCATES_MEMORY);
	int size;

	if (IS_ERR(mac))
		return PTR_ERR(mac);
	size = crypto_ahash_digestsize(mac);
	crypto_free_ahash(mac);
	return size;
}

#ifdef CONFIG_KEYS
static bool dm_rust_is_type(const char *type, size_t len, const char *name)
{
	return len == strlen(name) && !memcmp(type, name, len);
}

/* Copies a payload, if it has the expected length. Called with the key's semaphore held. */
static long dm_rust_copy_payload(struct key *key, bool is_user,
				 const char *type, u8 *out, size_t len)
{
	const void *data;
	size_t size;

	if (is_user) {
		const struct user_key_payload *payload = user_key_payload_locked(key);

		if (!payload)
			return -EKEYREVOKED;
		data = payload->data;
		size = payload->datalen;
	} else if (type[0] == 'e') {
		const struct encrypted_key_payload *payload = key->payload.data[0];

		if (!payload)
			return -EKEYREVOKED;
		data = payload->decrypted_data;
		size = payload->decrypted_datalen;
	} else {
		const struct trusted_key_payload *payload = key->payload.data[0];

		if (!payload)
			return -EKEYREVOKED;
		data = payload->key;
		size = payload->key_len;
	}
	if (size != len)
		return -EINVAL;
	memcpy(out, data, len);
	return 0;
}
#endif

long dm_rust_helper_key(const char *type, size_t type_len,
			const char *description, u8 *out, size_t len)
{
#ifdef CONFIG_KEYS
	struct key_type *key_type = NULL;
	bool is_user = false;
	const char *symbol = NULL;
	struct key *key;
	long ret;

	if (dm_rust_is_type(type, type_len, "logon")) {
		key_type = &key_type_logon;
		is_user = true;
	} else if (dm_rust_is_type(type, type_len, "user")) {
		key_type = &key_type_user;
		is_user = true;
	} else if (IS_ENABLED(CONFIG_ENCRYPTED_KEYS) &&
		   dm_rust_is_type(type, type_len, "encrypted")) {
		symbol = "key_type_encrypted";
	} else if (IS_ENABLED(CONFIG_TRUSTED_KEYS) &&
		   dm_rust_is_type(type, type_len, "trusted")) {
		symbol = "key_type_trusted";
	} else {
		return -EINVAL;
	}

	/* These may be in modules, which this one does not depend on until they are asked for. */
	if (symbol) {
		key_type = __symbol_get(symbol);
		if (!key_type) {
			request_module("symbol:%s", symbol);
			key_type = __symbol_get(symbol);
		}
		if (!key_type)
			return -EINVAL;
	}

	key = request_key(key_type, description, NULL);
	if (IS_ERR(key)) {
		ret = PTR_ERR(key);
	} else {
		down_read(&key->sem);
		ret = dm_rust_copy_payload(key, is_user, type, out, len);
		up_read(&key->sem);
		key_put(key);
	}
	if (symbol)
		__symbol_put(symbol);
	return ret;
#else
	return -EINVAL;
#endif
}

static unsigned int dm_rust_max_read_size;
module_param_named(max_read_size, dm_rust_max_read_size, uint, 0644);
MODULE_PARM_DESC(max_read_size, "Maximum size of a read request of rust-crypt");

static unsigned int dm_rust_max_write_size;
module_param_named(max_write_size, dm_rust_max_write_size, uint, 0644);
MODULE_PARM_DESC(max_write_size, "Maximum size of a write request of rust-crypt");

static bool dm_rust_as_crypt;
module_param_named(as_crypt, dm_rust_as_crypt, bool, 0444);
MODULE_PARM_DESC(as_crypt, "Register rust-crypt under the name crypt as well");

unsigned int dm_rust_helper_max_read_size(void)
{
	return READ_ONCE(dm_rust_max_read_size);
}

unsigned int dm_rust_helper_max_write_size(void)
{
	return READ_ONCE(dm_rust_max_write_size);
}

bool dm_rust_helper_as_crypt(void)
{
	return dm_rust_as_crypt;
}

unsigned int dm_rust_helper_skcipher_ivsize(struct crypto_skcipher *tfm)
{
	return crypto_skcipher_ivsize(tfm);
}

unsigned int dm_rust_helper_aead_ivsize(struct crypto_aead *tfm)
{
	return crypto_aead_ivsize(tfm);
}

void dm_rust_helper_init_wait(struct crypto_wait *wait)
{
	crypto_init_wait(wait);
}

int dm_rust_helper_wait_req(int err, struct crypto_wait *wait)
{
	return crypto_wait_req(err, wait);
}
