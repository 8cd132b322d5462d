//! Fences: while a device of the host writes to a guest's buffer, no command
//! that is ordered after it is answered, and none is answered out of turn.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use landbridge_dmabuf::{Access, Bracketed, DmaBuf, Error, SyncFile};
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, INNER_GPU, MODULE, PORT, SERVE_UDMABUF, serving};
use crate::scenario::{Expect, Host, Needs, Scenario, Storey};
use crate::sys::memory::Map;
use crate::virtgpu::{Blob, Card, Made, Picture, Screen, Submission};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fences_wait_for_work_on_the_host",
    claim: "a guest's fences, flushes and page flips wait for devices that write on the host",
    storey: Storey::Nested,
    needs: Needs {
        modules: &[MODULE],
        devices: &[PORT, INNER_GPU],
        beside: &[serving(SERVE_UDMABUF), DESK],
        host: Host {
            modules: &["vgem"],
            devices: &[],
        },
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(90),
    expect: Expect::Passes,
    body,
};

/// Longer than anything takes that waits for nobody.
const LONG: Duration = Duration::from_secs(4);

/// Less than the host's work takes.
const IMPATIENT: Duration = Duration::from_millis(100);

struct Scene {
    desk: Desk,
    card: Card,
    screen: Screen,
}

/// A blob with a picture in it.
struct Page {
    made: Made,
    memory: Map,
    picture: Picture,
    framebuffer: u32,
}

fn body(checks: &mut Checks) -> Result<()> {
    let card = Card::open(0)?;
    card.context()?;
    let screen = card.screen(0)?;
    let mut scene = Scene {
        desk: Desk::open()?,
        card,
        screen,
    };
    let idle = scene.page(1, 0)?;
    // Told apart by its size.
    let busy = scene.page(2, 1)?;
    scene.card.set(&scene.screen, idle.framebuffer)?;
    let fence = fence(&scene.card, None, Some(0))?;
    checks.holds("an idle device signals at once", signals(&fence), "");
    out_fences(checks, &mut scene, &busy)?;
    in_fences(checks, &mut scene, &busy)?;
    brackets(checks, &mut scene, &busy)?;
    flips(checks, &mut scene, &idle, &busy)
}

impl Scene {
    fn page(&self, number: u32, more_pages: u64) -> Result<Page> {
        let (width, height) = self.screen.mode.size();
        let picture = Picture::new(width, height, number);
        let size = picture.bytes().next_multiple_of(4096) + more_pages * 4096;
        let made = self.card.blob(Blob::of_the_host(size))?;
        let memory = self.card.map(made)?;
        picture.draw(&memory);
        let framebuffer = self.card.framebuffer(made.handle, picture)?;
        Ok(Page {
            made,
            memory,
            picture,
            framebuffer,
        })
    }
}

fn fence(card: &Card, after: Option<&SyncFile>, ring: Option<u32>) -> Result<SyncFile> {
    let fence: OwnedFd = card.submit(Submission {
        commands: &[],
        objects: &[],
        after: after.map(|file| file.as_fd()),
        ring,
    })?;
    Ok(SyncFile::try_from(fence)?)
}

fn signals(fence: &SyncFile) -> bool {
    fence.wait(Some(LONG)).is_ok()
}

fn is_pending(fence: &SyncFile) -> bool {
    fence.wait(Some(Duration::ZERO)).is_err()
}

fn gpu(status: &Value, key: &str) -> u64 {
    status["devices"][0][key].as_u64().unwrap_or_default()
}

/// The fences of command streams, which come with a fence of their own.
fn out_fences(checks: &mut Checks, scene: &mut Scene, busy: &Page) -> Result<()> {
    let other = Card::open(0)?;
    other.context()?;
    scene.desk.begin_work(busy.made.size)?;
    let first = fence(&scene.card, None, Some(0))?;
    let second = fence(&scene.card, None, Some(0))?;
    let ring = fence(&scene.card, None, Some(1))?;
    let elsewhere = fence(&other, None, Some(0))?;
    checks.holds(
        "a program without that buffer is not held up",
        signals(&elsewhere),
        "",
    );
    let status = scene.desk.status()?;
    let pending = [&first, &second, &ring].map(is_pending);
    checks.equal("three fences wait for the host", &pending, &[true; 3]);
    checks.holds(
        "and the device counts them",
        gpu(&status, "fences_outstanding") >= 3 && gpu(&status, "waiting") >= 3,
        &status["devices"][0],
    );
    let at = busy.made.size as usize - 1;
    scene.desk.end_work(at as u64, &[0x77])?;
    checks.holds("the last one signals", signals(&second), "");
    checks.equal(
        "then what was written is there",
        &busy.memory.get(at),
        &0x77,
    );
    checks.equal(
        "and the one before it came first",
        &is_pending(&first),
        &false,
    );
    checks.holds("the other ring's too", signals(&ring), "");
    let stamps = [&first, &second].map(|file| Ok::<_, anyhow::Error>(file.info()?.fences));
    let [first, second] = stamps;
    let stamp = |fences: Vec<landbridge_dmabuf::sync_file::Fence>| {
        fences.iter().map(|fence| fence.timestamp_ns).max()
    };
    let (first, second) = (stamp(first?), stamp(second?));
    checks.holds(
        "in the order of their ring",
        first.is_some() && first <= second,
        format!("{first:?}, {second:?}"),
    );
    Ok(())
}

/// A submission that is to wait for a fence waits in the guest's kernel.
fn in_fences(checks: &mut Checks, scene: &mut Scene, busy: &Page) -> Result<()> {
    let other = Card::open(0)?;
    other.context()?;
    scene.desk.begin_work(busy.made.size)?;
    let first = fence(&scene.card, None, Some(0))?;
    let (early, after) = std::thread::scope(|scope| {
        let submitted = scope.spawn(|| fence(&other, Some(&first), Some(0)));
        std::thread::sleep(Duration::from_millis(300));
        let early = submitted.is_finished();
        let ended = scene.desk.end_work(0, &[1]);
        let after = submitted.join().map_err(|_| anyhow!("the thread panicked"));
        (early, ended.and_then(|()| after?))
    });
    checks.equal("it is not submitted before its fence", &early, &false);
    let after = after?;
    checks.equal("but after it", &is_pending(&first), &false);
    checks.holds("and then it is done", signals(&after), "");
    Ok(())
}

/// The driver's own fence on a buffer holds a bracket back, and no longer than
/// that may take.
fn brackets(checks: &mut Checks, scene: &mut Scene, busy: &Page) -> Result<()> {
    let buffer = DmaBuf::try_from(scene.card.export(busy.made.handle)?)?;
    let memory = Bracketed::of(buffer, Access::ReadWrite)?;
    scene.desk.begin_work(busy.made.size)?;
    let _fence = scene.card.submit(Submission {
        objects: &[busy.made.handle],
        ..Submission::default()
    })?;
    let began = Instant::now();
    let refused = memory.write(IMPATIENT).err();
    let took = began.elapsed();
    checks.holds(
        "a bracket gives up while the host writes",
        matches!(refused, Some(Error::Fenced { .. })) && took < LONG,
        format!("{refused:?} after {took:?}"),
    );
    scene.desk.end_work(0, &[1])?;
    memory.write(LONG)?.end()?;
    Ok(())
}

/// A picture that is being written is not shown.
fn flips(checks: &mut Checks, scene: &mut Scene, idle: &Page, busy: &Page) -> Result<()> {
    let flushes = |status: &Value| status["devices"][0]["counters"]["flushes"].as_u64();
    scene.desk.begin_work(busy.made.size)?;
    scene.card.flip(&scene.screen, busy.framebuffer, 1)?;
    let status = scene
        .desk
        .status_when(|status| gpu(status, "waiting") >= 2)?;
    checks.holds(
        "scanout and flush wait",
        gpu(&status, "waiting") >= 2,
        gpu(&status, "waiting"),
    );
    let difference = scene.desk.difference(0, 0, idle.picture)?;
    checks.equal("the screen shows the old picture", &difference, &None);
    // The picture's own first bytes: blue, green, red.
    let [red, green, blue] = busy.picture.pixel(0, 0);
    scene.desk.end_work(0, &[blue, green, red])?;
    let after = scene
        .desk
        .status_when(|status| gpu(status, "waiting") == 0)?;
    let difference = scene.desk.difference(0, 0, busy.picture)?;
    checks.equal("and the new one when it is written", &difference, &None);
    checks.holds(
        "which was flushed only then",
        flushes(&after) > flushes(&status),
        format!("{:?}, then {:?}", flushes(&status), flushes(&after)),
    );
    let stuck = &after["devices"][0]["counters"]["stuck"];
    checks.equal("nothing waited in vain", stuck, &0.into());
    Ok(())
}
