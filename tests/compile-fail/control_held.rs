// SPDX-License-Identifier: GPL-2.0

//! Compiles: a target that holds bios, with all that the cases about those use. If this fails, they
//! prove nothing.

#![forbid(unsafe_code)]
#![allow(refining_impl_trait, dead_code)]

use crate::{
    crypto::{Call, Cipher, Direction, Skcipher},
    dm::{
        cond_resched, prelude::*, BufferBio, Buffers, DoneBuffer, Fate, Held, HeldBio, HoldsBios, QueueOptions,
        Settled, Shelf, SubmitThread, Tags, Workqueue,
    },
    mem::{MaySleep, Pool, PoolBox},
};

struct Type;

impl TargetType for Type {
    const NAME: &'static CStr = c"case";
    const VERSION: [u32; 3] = [1, 0, 0];
    type Target<'ti> = Whole<'ti>;
}

struct Whole<'ti> {
    dev: &'ti Device,
    queue: &'ti Workqueue,
    shelf: &'ti Shelf,
    thread: &'ti SubmitThread,
    buffers: &'ti Buffers,
    pool: &'ti Pool,
    event: &'ti TableEvent,
    cipher: Settled<'ti, Cipher<Skcipher>>,
}

struct Data<'ti> {
    tags: Option<Tags<'ti>>,
    block: Option<PoolBox<'ti>>,
    spare: Option<BufferBio<'ti>>,
    again: Option<DoneBuffer<'ti>>,
}

#[vtable]
impl<'ti> Target<'ti> for Whole<'ti> {
    type PerBio = Held<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        const OPTIONS: QueueOptions = QueueOptions {
            high_priority: false,
            per_cpu: false,
            cpu_intensive: false,
            max_active: 0,
        };
        let [dev] = args.exactly(c"Invalid argument count")?;
        let failed = |e| CtrError::new(e, c"No cipher");
        let mut cipher = Cipher::new(KVec::new(), 16, 0, ti.may_sleep()).map_err(failed)?;

        cipher.set_key(0, &[0; 32], ti.may_sleep()).map_err(failed)?;
        let queue = ti.queue(c"case", OPTIONS, c"No queue")?;

        Ok(Self {
            dev: ti.get_device(dev, c"Device lookup failed")?,
            shelf: ti.shelf(queue, c"No shelf")?,
            queue,
            thread: ti.submit_thread(c"case", false, c"No thread")?,
            buffers: ti.buffers(c"No buffers")?,
            pool: ti.pool(1, 512, c"No pool")?,
            event: ti.event()?,
            cipher: ti.settled(cipher)?,
        })
    }

    fn map<'map>(&self, _ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        let data = Data {
            tags: Tags::pooled(self.pool, 16, bio.may_sleep()),
            block: self.pool.take(Some(bio.may_sleep())),
            spare: None,
            again: None,
        };

        self.shelf.help();
        bio.hold(data).submitted(|bio| match bio.op() {
            Op::WRITE => bio.queue(self.queue),
            _ => match bio.submit_read(self.buffers, self.dev, 0, None) {
                Ok(fate) => fate,
                Err(bio) => bio.end(Status::RESOURCE),
            },
        })
    }

    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        self.cipher
            .change(args.may_sleep(), |cipher| {
                cipher.set_key(0, &[1; 32], args.may_sleep())
            })
            .ok_or(EINVAL)??;
        Ok(false)
    }

    fn resume(&self, _ti: &DmTarget) {
        self.event.trigger();
    }
}

impl<'ti> HoldsBios<'ti> for Whole<'ti> {
    type Data = Data<'ti>;

    fn work<'call>(
        &self,
        mut bio: HeldBio<'call, 'ti, Self>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let Some(mut buffer) = self.buffers.new_bio(&bio, self.dev, 0, sleep) else {
            return bio.end(Status::RESOURCE);
        };
        let mut request = self.cipher.get(&bio).request(sleep);

        buffer.copy_from(&bio);
        if let (Some(request), Some(segment)) = (&mut request, buffer.cursor_mut().take(512)) {
            request.iv().fill(0);
            let _ = request.run(&Call {
                transform: 0,
                direction: Direction::Encrypt,
                src: *segment,
                dst: segment,
                tag: None,
            });
        }
        drop(request);
        if let Some(sleep) = sleep {
            cond_resched(sleep);
        }
        match bio.data_mut().spare.take() {
            Some(spare) => bio.submit(spare),
            None => bio.submit_by(self.thread, buffer, 0),
        }
    }

    fn quick<'call>(&self, bio: HeldBio<'call, 'ti, Self>) -> Fate<'call> {
        bio.in_parts(self.shelf, 2)
    }

    fn part(&self, bio: &HeldBio<'_, 'ti, Self>, number: u32) -> bool {
        bio.data().spare.is_none() && bio.cursor().range(number, 512).left() == 512
    }

    fn parts_done<'call>(&self, bio: HeldBio<'call, 'ti, Self>, good: bool) -> Fate<'call> {
        if good {
            bio.share(self.shelf)
        } else {
            bio.end(Status::IOERR)
        }
    }

    fn lower_done<'call>(
        &self,
        mut bio: HeldBio<'call, 'ti, Self>,
        buffer: Option<DoneBuffer<'ti>>,
        status: Status,
    ) -> Fate<'call> {
        bio.data_mut().again = buffer;
        bio.end(status)
    }

    fn tags<'a>(data: &'a mut Data<'ti>) -> Option<&'a mut Tags<'ti>> {
        data.tags.as_mut()
    }
}
