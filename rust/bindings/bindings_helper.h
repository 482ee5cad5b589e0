/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the headers that the `kernel` crate's bindings leave out,
 * and the functions of helpers.c.
 */
#include <linux/dax.h>
#include <linux/device-mapper.h>
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
