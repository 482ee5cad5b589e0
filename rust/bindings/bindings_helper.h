/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the headers that the `kernel` crate's bindings leave out,
 * and the functions of helpers.c.
 */
#include <crypto/aead.h>
#include <crypto/skcipher.h>
#include <linux/bio-integrity.h>
#include <linux/crypto.h>
#include <linux/dax.h>
#include <linux/device-mapper.h>
#include <linux/list_sort.h>
#include <linux/mempool.h>
#include <linux/percpu_counter.h>
#include <linux/workqueue.h>

/* Macros with a cast, which bindgen does not see through. */
static const blk_status_t DM_RUST_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
static const blk_status_t DM_RUST_BLK_STS_TARGET = BLK_STS_TARGET;
static const blk_status_t DM_RUST_BLK_STS_MEDIUM = BLK_STS_MEDIUM;
static const blk_status_t DM_RUST_BLK_STS_PROTECTION = BLK_STS_PROTECTION;
static const blk_status_t DM_RUST_BLK_STS_RESOURCE = BLK_STS_RESOURCE;
static const blk_status_t DM_RUST_BLK_STS_IOERR = BLK_STS_IOERR;
static const blk_status_t DM_RUST_BLK_STS_AGAIN = BLK_STS_AGAIN;
static const blk_status_t DM_RUST_BLK_STS_INVAL = BLK_STS_INVAL;

/* Static inlines that are not on a hot path; see helpers.c. */
sector_t dm_rust_helper_bdev_nr_sectors(struct block_device *bdev);
sector_t dm_rust_helper_get_start_sect(struct block_device *bdev);
dev_t dm_rust_helper_bio_dev(const struct bio *bio);
void dm_rust_helper_init_work(struct work_struct *work, work_func_t func);
bool dm_rust_helper_schedule_work(struct work_struct *work);

/* Log lines with the prefix of device mapper's own. */
void dm_rust_helper_warn(const char *target, const char *message);
void dm_rust_helper_info(const char *target, const char *message);
void dm_rust_helper_log(const char *level, const char *target, const void *text);
void dm_rust_helper_err(const char *target, const char *message);
void dm_rust_helper_integrity_error(const char *target,
				    struct block_device *bdev, sector_t sector);

/* Where code runs, and what may be done there. */
bool dm_rust_helper_in_hardirq_or_irqs_off(void);
bool dm_rust_helper_cond_resched(void);
bool dm_rust_helper_preemptible(void);
bool dm_rust_helper_bdev_is_zoned(struct block_device *bdev);
bool dm_rust_helper_bdev_rotates(struct block_device *bdev);
bool dm_rust_helper_bdev_synchronous(struct block_device *bdev);
unsigned int dm_rust_helper_bdev_logical_block_size(struct block_device *bdev);
bool dm_rust_helper_integrity_profile(struct block_device *bdev,
				      unsigned int *metadata_size,
				      unsigned int *interval_exp,
				      bool *plain);
int dm_rust_helper_add_integrity(struct bio *bio, void *tags, unsigned int len);

/* Memory. */
void dm_rust_helper_memzero_explicit(void *s, size_t count);
struct page *dm_rust_helper_zero_page(void);
void *dm_rust_helper_page_address(struct page *page);
struct page *dm_rust_helper_virt_to_page(const void *address);
bool dm_rust_helper_counter_init(struct percpu_counter *counter);
void dm_rust_helper_counter_add(struct percpu_counter *counter, s64 amount);
s64 dm_rust_helper_counter_read_positive(struct percpu_counter *counter);
unsigned long dm_rust_helper_lowmem_pages(void);
unsigned int dm_rust_helper_compound_order(struct page *page);
void dm_rust_helper_free_pages(struct page *page, unsigned int len, mempool_t *pool,
			       struct percpu_counter *counter);
struct page *dm_rust_helper_alloc_compound(gfp_t gfp, unsigned int order);

/* Bios from no pool, each entry of which is a page, or several, of its own. */
struct bio *dm_rust_helper_new_bio(struct block_device *bdev, unsigned short vecs,
				   blk_opf_t opf, gfp_t gfp);
void dm_rust_helper_free_bio(struct bio *bio);

static const gfp_t DM_RUST_GFP_NOIO = GFP_NOIO;
static const gfp_t DM_RUST_GFP_NORETRY = __GFP_NORETRY;
static const gfp_t DM_RUST_GFP_NOWARN = __GFP_NOWARN;
static const gfp_t DM_RUST_GFP_NOMEMALLOC = __GFP_NOMEMALLOC;
static const gfp_t DM_RUST_GFP_DIRECT_RECLAIM = __GFP_DIRECT_RECLAIM;

/* Threads and queues. */
struct workqueue_struct *dm_rust_helper_queue(const char *prefix, const char *name,
					      int id, bool high_priority,
					      bool per_cpu, bool cpu_intensive,
					      int max_active);
int dm_rust_helper_queue_id(void);
void dm_rust_helper_put_queue_id(int id);
struct task_struct *dm_rust_helper_thread(int (*function)(void *data), void *data,
					  const char *prefix, const char *name);
void dm_rust_helper_thread_wait(struct llist_head *list);
unsigned int dm_rust_helper_noio_save(void);
void dm_rust_helper_noio_restore(unsigned int before);
bool dm_rust_helper_may_wait_for_io(void);
void dm_rust_helper_copy_page(struct page *to, size_t to_offset,
			      struct page *from, size_t from_offset, size_t len);
void dm_rust_helper_about_to_sleep(void);
void dm_rust_helper_stay_awake(void);
void dm_rust_helper_sleep_until(u64 nanoseconds);
void dm_rust_helper_queue_bh_work(struct work_struct *work, work_func_t func);

/* Hashes and ciphers that the kernel's library has. */
bool dm_rust_helper_md5(u8 out[16], const u8 *seed, size_t seed_len,
			const u8 *data, size_t len, const u8 *tail,
			size_t tail_len);
bool dm_rust_helper_aes_schedule(void *schedule, const u8 *key, size_t len);
void dm_rust_helper_aes_encrypt(const void *schedule, u8 out[16], const u8 in[16]);
size_t dm_rust_helper_aes_schedule_size(void);
bool dm_rust_helper_fips_enabled(void);
int dm_rust_helper_mac_size(const char *name);

/* Keys. */
long dm_rust_helper_key(const char *type, size_t type_len,
			const char *description, u8 *out, size_t len);

/* Parameters of the module. */
unsigned int dm_rust_helper_max_read_size(void);
unsigned int dm_rust_helper_max_write_size(void);
bool dm_rust_helper_as_crypt(void);
unsigned int dm_rust_helper_skcipher_ivsize(struct crypto_skcipher *tfm);
unsigned int dm_rust_helper_aead_ivsize(struct crypto_aead *tfm);
int dm_rust_helper_wait_req(int err, struct crypto_wait *wait);
void dm_rust_helper_init_wait(struct crypto_wait *wait);
