//! Every kind of blob with every flag, through the guest kernel's own interface:
//! what the driver makes of it, what our device makes of that, and whose bytes
//! they are.
//!
//! | memory | mapped by the guest | the host's copy |
//! |---|---|---|
//! | GUEST | its own pages | the same pages |
//! | HOST3D | host memory, if MAPPABLE | the same memory |
//! | HOST3D_GUEST | its own pages | host memory; transfers copy |
//!
//! Without VIRGL the driver makes GUEST blobs only.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, GPU, MODULE, PORT, SERVE_IMPORTING, SERVE_SMALL, serving};
use crate::scenario::{Beside, Expect, Needs, Scenario, Storey};
use crate::sys::answer;
use crate::sys::dma_buf::{END, READ, SYNC, Sync, WRITE};
use crate::sys::ioctl::ioctl;
use crate::sys::memory::{How, Map};
use crate::virtgpu::{
    Blob, CROSS_DEVICE, Card, GUEST, HOST3D, HOST3D_GUEST, MAPPABLE, Made, Picture, SHAREABLE,
    Screen,
};

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "every_kind_of_blob_is_served_or_refused",
        claim: "blobs of every memory with every flag: made, mapped, shown, shared, or refused cleanly",
        storey: Storey::Guest,
        needs: needs(&[serving(SERVE_SMALL), DESK]),
        limit: Duration::from_secs(60),
        expect: Expect::Passes,
        body: host_visible,
    },
    Scenario {
        name: "only_guest_blobs_are_made_in_guest_import_mode",
        claim: "without VIRGL a guest makes GUEST blobs with every flag, and host blobs are refused",
        storey: Storey::Guest,
        needs: needs(&[serving(SERVE_IMPORTING), DESK]),
        limit: Duration::from_secs(40),
        expect: Expect::Passes,
        body: guest_import,
    },
];

const fn needs(beside: &'static [Beside]) -> Needs {
    Needs {
        modules: &[MODULE],
        devices: &[PORT, GPU],
        beside,
        qemu: (11, 1),
        ..Needs::NOTHING
    }
}

/// Every set of flags.
const FLAGS: std::ops::Range<u32> = 0..8;

/// The guest's screen, and what looks at it from both sides.
struct Scene {
    desk: Desk,
    card: Card,
    screen: Screen,
    /// Told apart by their numbers.
    pictures: u32,
}

impl Scene {
    fn open() -> Result<Self> {
        let desk = Desk::open()?;
        let card = Card::open(0)?;
        let screen = card.screen(0)?;
        Ok(Self {
            desk,
            card,
            screen,
            pictures: 0,
        })
    }

    fn picture(&mut self) -> Picture {
        self.pictures += 1;
        let (width, height) = self.screen.mode.size();
        Picture::new(width, height, self.pictures)
    }

    /// What the device has of a blob: it hears of it a moment later, and of its
    /// being for other devices at last.
    fn resource(&mut self, made: Made, for_others: bool) -> Result<Value> {
        let status = self.desk.status_when(|it| {
            listed(it, made).is_some_and(|it| !for_others || it["uuid"].is_string())
        })?;
        Ok(listed(&status, made).cloned().unwrap_or_default())
    }

    /// Gives a blob back, and says whether the device let it go too: it hears
    /// of it a moment later.
    fn close(&mut self, made: Made) -> Result<bool> {
        self.card.close(made.handle)?;
        let status = self.desk.status_when(|it| listed(it, made).is_none())?;
        Ok(listed(&status, made).is_none())
    }

    fn refused(&mut self) -> Result<Option<u64>> {
        Ok(self.desk.status()?["devices"][0]["counters"]["refused"].as_u64())
    }

    /// What differs between a picture and what the host shows of a blob.
    fn shown(&mut self, made: Made, picture: Picture) -> Result<Option<String>> {
        let framebuffer = self.card.framebuffer(made.handle, picture)?;
        self.card.set(&self.screen, framebuffer)?;
        let difference = self.desk.difference(0, 0, picture)?;
        self.card.switch_off(&self.screen)?;
        self.card.remove_framebuffer(framebuffer)?;
        Ok(difference)
    }
}

/// "HOST3D MAPPABLE|SHAREABLE"
fn name(memory: u32, flags: u32) -> String {
    let memory = match memory {
        GUEST => "GUEST",
        HOST3D => "HOST3D",
        HOST3D_GUEST => "HOST3D_GUEST",
        _ => "no memory",
    };
    let set = [
        (MAPPABLE, "MAPPABLE"),
        (SHAREABLE, "SHAREABLE"),
        (CROSS_DEVICE, "CROSS_DEVICE"),
    ];
    let set = set.iter().filter(|(flag, _)| flags & flag != 0);
    let set: Vec<&str> = set.map(|(_, name)| *name).collect();
    format!("{memory} {}", set.join("|"))
}

fn host_visible(checks: &mut Checks) -> Result<()> {
    let mut scene = Scene::open()?;
    checks.answers("a context is made", scene.card.context(), "ok");
    let before = scene.refused()?;
    for memory in [GUEST, HOST3D, HOST3D_GUEST] {
        for flags in FLAGS {
            row(checks, &mut scene, memory, flags)?;
        }
    }
    let after = scene.refused()?;
    checks.equal("the device refused nothing", &after, &before);
    by_the_device(checks, &mut scene)
}

fn guest_import(checks: &mut Checks) -> Result<()> {
    let mut scene = Scene::open()?;
    for flags in FLAGS {
        row(checks, &mut scene, GUEST, flags)?;
        for memory in [HOST3D, HOST3D_GUEST] {
            let blob = Blob {
                memory,
                flags,
                ..Blob::of_the_host(4096)
            };
            let what = format!("{} is refused", name(memory, flags));
            checks.answers(&what, scene.card.blob(blob), "EINVAL");
        }
    }
    Ok(())
}

/// A blob as the status lists it.
fn listed(status: &Value, made: Made) -> Option<&Value> {
    let resources = status["devices"][0]["resources"].as_array();
    let mut resources = resources.into_iter().flatten();
    resources.find(|it| it["id"] == made.resource)
}

/// One kind of blob, from its making to its end.
fn row(checks: &mut Checks, scene: &mut Scene, memory: u32, flags: u32) -> Result<()> {
    let row = name(memory, flags);
    let picture = scene.picture();
    let made = scene.card.blob(Blob {
        memory,
        flags,
        ..Blob::of_the_host(picture.bytes().next_multiple_of(4096))
    })?;
    scene.card.wait(made.handle)?;
    checks.equal(
        &format!("{row}: the driver's record of it"),
        &scene.card.info(made.handle)?,
        &(made.resource, memory),
    );
    let resource = scene.resource(made, flags & CROSS_DEVICE != 0)?;
    let kind = match memory {
        GUEST => "guest blob",
        HOST3D => "host blob",
        _ => "shadowed blob",
    };
    checks.equal(
        &format!("{row}: the device's"),
        &resource["kind"],
        &kind.into(),
    );
    checks.equal(
        &format!("{row}: it has a UUID if it is for other devices"),
        &resource["uuid"].is_string(),
        &(flags & CROSS_DEVICE != 0),
    );
    if memory == HOST3D && flags & MAPPABLE == 0 {
        let mapped = scene.card.map(made);
        checks.answers(&format!("{row}: it is not mapped"), mapped, "EINVAL");
        checks.equal(
            &format!("{row}: nor is it in the window"),
            &resource["mapped_at"],
            &Value::Null,
        );
    } else {
        bytes(checks, scene, &row, (memory, made), picture)?;
    }
    let gone = scene.close(made)?;
    checks.holds(&format!("{row}: nothing is kept"), gone, gone);
    Ok(())
}

/// Bytes from both sides, and by way of a dma-buf.
fn bytes(
    checks: &mut Checks,
    scene: &mut Scene,
    row: &str,
    (memory, made): (u32, Made),
    picture: Picture,
) -> Result<()> {
    let map = scene.card.map(made)?;
    picture.draw(&map);
    if memory == HOST3D_GUEST {
        scene.card.to_host(made, made.size as u32)?;
        scene.card.wait(made.handle)?;
    }
    let difference = scene.shown(made, picture)?;
    checks.equal(
        &format!("{row}: the host sees the guest's bytes"),
        &difference,
        &None,
    );
    if memory != GUEST {
        // The last bytes of the last page are behind the picture.
        let at = made.size as usize - 4;
        let word = [picture.number as u8, 0x5a, 0xa5, 0x0f];
        scene.desk.write_blob(made.size, at as u64, &word)?;
        if memory == HOST3D_GUEST {
            scene.card.from_host(made, made.size as u32)?;
            scene.card.wait(made.handle)?;
        }
        let seen = [0, 1, 2, 3].map(|byte| map.get(at + byte));
        checks.equal(&format!("{row}: the guest sees the host's"), &seen, &word);
    }
    another_program(checks, scene, row, made, &map)
}

/// Another program of the guest gets the blob as a dma-buf.
fn another_program(
    checks: &mut Checks,
    scene: &Scene,
    row: &str,
    made: Made,
    map: &Map,
) -> Result<()> {
    let exported = scene.card.export(made.handle)?;
    let other = Card::open(0)?;
    let handle = other.import(&exported)?;
    let theirs = other.map(Made { handle, ..made })?;
    let shared = Map::new(&exported, 0, usize::try_from(made.size)?, How::SHARED)?;
    let sync = |flags| answer(ioctl(&exported, SYNC, &mut Sync { flags }));
    let began = sync(READ | WRITE);
    shared.set(7, 0xc3);
    let ended = sync(READ | WRITE | END);
    checks.equal(
        &format!("{row}: as a dma-buf it is written between SYNC START and END, by all"),
        &(began.as_str(), theirs.get(7), map.get(7), ended.as_str()),
        &("ok", 0xc3, 0xc3, "ok"),
    );
    drop(theirs);
    other.close(handle)?;
    Ok(())
}

/// What our device finds wrong: the program hears of it when it maps the blob.
fn by_the_device(checks: &mut Checks, scene: &mut Scene) -> Result<()> {
    let before = scene.refused()?.unwrap_or_default();
    let blob = Blob::of_the_host(4096);
    let made = scene.card.blob(Blob { object: 77, ..blob })?;
    let mapped = scene.card.map(made);
    checks.answers("an object that no renderer made", mapped, "EINVAL");
    // The driver sends CREATE_BLOB and MAP_BLOB, and the second finds no blob.
    let after = scene.refused()?.unwrap_or_default();
    checks.holds(
        "the device said so",
        after >= before + 2,
        format!("{before}, then {after}"),
    );
    let gone = scene.resource(made, false)?;
    checks.equal("and kept nothing", &gone, &Value::Null);
    scene.card.close(made.handle)?;
    let made = scene.card.blob(blob)?;
    let map = scene.card.map(made)?;
    map.set(0, 9);
    ensure!(map.get(0) == 9, "the next blob can't be written");
    checks.holds("the next one is served", true, "mapped and written");
    Ok(())
}
