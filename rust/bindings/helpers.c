// SPDX-License-Identifier: GPL-2.0
/*
 * Static inlines of the kernel's headers, made callable from Rust. Only those
 * that are not on a hot path: the others are written out in inline.rs.
 */
#include "bindings_helper.h"

#include <linux/blkdev.h>

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
