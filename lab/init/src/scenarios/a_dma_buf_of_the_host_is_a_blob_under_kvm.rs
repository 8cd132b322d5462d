//! Under KVM, on a host with udmabuf: the memory of a host blob is a real
//! dma-buf, and the guest's processor reaches it with no exit; the guest's own
//! pages become a real dma-buf when they are a blob.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::a_guest_finds_zeroes_where_memory_was_taken_away::taken_away;
use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, INNER_GPU, MODULE, PORT, SERVE_UDMABUF, serving};
use crate::scenario::{Expect, Host, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::virtgpu::{Blob, Card, GUEST, MAPPABLE, Picture, SHAREABLE, Screen, Shown};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_dma_buf_of_the_host_is_a_blob_under_kvm",
    claim: "under KVM host blobs and guest blobs are dma-bufs on the host, shown without a copy; a revoked one is zeros, and then itself",
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

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    let screen = card.screen(0)?;
    let Shown {
        picture,
        made,
        memory,
        ..
    } = card.show(&screen, 5)?;
    // Asked only now: as long as the console is shown, it copies.
    let before = desk.status()?["copied_bytes"].clone();
    let difference = desk.difference(0, 0, picture)?;
    checks.equal("the host sees the picture", &difference, &None);
    let next = Picture {
        number: 6,
        ..picture
    };
    next.draw(&memory);
    let difference = desk.screenshot(0, 0)?.difference(next);
    checks.equal("and the next one, at once", &difference, &None);
    let status = desk.status()?;
    checks.equal("nothing was copied", &status["copied_bytes"], &before);
    let resource = find(
        &status["devices"][0]["resources"],
        "id",
        &made.resource.into(),
    );
    let ours = find(&status["buffers"], "buffer", &resource["buffer"]);
    let exporter = ours["exporter"].as_str().unwrap_or_default();
    checks.holds(
        "its memory is a udmabuf",
        exporter.contains("udmabuf"),
        ours,
    );
    checks.equal(
        "and write-back on both sides",
        &(&ours["caching"], &ours["importers"][0]["caching"]),
        &(&"write-back".into(), &"write-back".into()),
    );
    let mut scene = Scene { desk, card, screen };
    joined(checks, &mut scene)?;
    too_large_to_join(checks, &mut scene)?;
    // KVM exits at a hole, and at zero pages it does not.
    taken_away(checks, &mut scene.desk, &scene.card, |desk| {
        desk.begin_work(3 * PAGE as u64)?;
        desk.end_work(1, &[0xe7])
    })
}

struct Scene {
    desk: Desk,
    card: Card,
    screen: Screen,
}

impl Scene {
    /// Shows a blob of guest memory of `size` bytes and says what the host
    /// knows of it.
    fn show(&mut self, checks: &mut Checks, size: u64, number: u32) -> Result<(Value, Map)> {
        let (width, height) = self.screen.mode.size();
        let picture = Picture::new(width, height, number);
        let made = self.card.blob(Blob {
            memory: GUEST,
            flags: MAPPABLE | SHAREABLE,
            ..Blob::of_the_host(size)
        })?;
        let memory = self.card.map(made)?;
        picture.draw(&memory);
        let framebuffer = self.card.framebuffer(made.handle, picture)?;
        self.card.set(&self.screen, framebuffer)?;
        let difference = self.desk.difference(0, 0, picture)?;
        checks.equal("the host sees the guest's pages", &difference, &None);
        let next = Picture {
            number: number + 1,
            ..picture
        };
        next.draw(&memory);
        let difference = self.desk.screenshot(0, 0)?.difference(next);
        checks.equal("and what changes in them, at once", &difference, &None);
        let status = self.desk.status()?;
        let resources = &status["devices"][0]["resources"];
        let resource = find(resources, "id", &made.resource.into());
        let buffer = find(&status["buffers"], "buffer", &resource["buffer"]);
        checks.equal("nothing was copied", &buffer["copied_bytes"], &0.into());
        checks.note(format!("{} ranges", resource["backing_ranges"]));
        Ok((buffer.clone(), memory))
    }
}

/// Guest pages on the VMM's memfd are one dma-buf.
fn joined(checks: &mut Checks, scene: &mut Scene) -> Result<()> {
    let size = 1 << 20;
    let (buffer, memory) = scene.show(checks, size, 20)?;
    checks.equal(
        "the guest's pages are a udmabuf",
        &(&buffer["exporter"], &buffer["note"]),
        &(&"udmabuf of guest pages".into(), &Value::Null),
    );
    let pid = scene.desk.daemon()?.pid.to_string();
    let ran = scene.desk.run(&["inspect", &pid, "--json"])?;
    let report: Value = serde_json::from_str(&ran.printed)?;
    let seen = find(&report["buffers"], "size", &size.into());
    checks.equal(
        "the host's kernel says so too",
        &(&seen["exporter"], &seen["name"]),
        &(&"udmabuf".into(), &"guest pages".into()),
    );
    let at = size as usize - 2;
    scene.desk.begin_work(size)?;
    scene.desk.end_work(at as u64, &[0xb7, 0x1e])?;
    checks.equal(
        "what is written to the dma-buf is in the guest's memory",
        &(memory.get(at), memory.get(at + 1)),
        &(0xb7, 0x1e),
    );
    Ok(())
}

/// Past the limits of udmabuf they are stitched together.
fn too_large_to_join(checks: &mut Checks, scene: &mut Scene) -> Result<()> {
    const LIMIT: &str = "udmabuf/parameters/size_limit_mb";
    scene.desk.set_parameter(LIMIT, "1")?;
    let (buffer, _memory) = scene.show(checks, (1 << 20) + 4096, 30)?;
    scene.desk.set_parameter(LIMIT, "64")?;
    checks.equal(
        "what is too large for udmabuf is served as pages",
        &buffer["exporter"],
        &"guest pages".into(),
    );
    let note = buffer["note"].as_str().unwrap_or_default();
    checks.holds("and says why", note.contains("size_limit_mb"), note);
    Ok(())
}

/// The object of a list that has this value under this key.
fn find<'a>(list: &'a Value, key: &str, value: &Value) -> &'a Value {
    let mut objects = list.as_array().into_iter().flatten();
    objects.find(|it| it[key] == *value).unwrap_or(&Value::Null)
}
