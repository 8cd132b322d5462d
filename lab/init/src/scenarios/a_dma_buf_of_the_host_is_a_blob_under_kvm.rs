//! Under KVM, on a host with udmabuf: the memory of a host blob is a real
//! dma-buf, and the guest's processor reaches it with no exit.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK, INNER_GPU, MODULE, PORT, SERVE_UDMABUF, serving};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::virtgpu::{Blob, Card, Picture};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_dma_buf_of_the_host_is_a_blob_under_kvm",
    claim: "a guest under KVM maps and shows host blobs that are dma-bufs on its host",
    storey: Storey::Nested,
    needs: Needs {
        modules: &[MODULE],
        devices: &[PORT, INNER_GPU],
        beside: &[serving(SERVE_UDMABUF), DESK],
        qemu: (11, 1),
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let mut desk = Desk::open()?;
    let card = Card::open(0)?;
    let screen = card.screen(0)?;
    let (width, height) = screen.mode.size();
    let picture = Picture::new(width, height, 5);
    let made = card.blob(Blob::of_the_host(picture.bytes().next_multiple_of(4096)))?;
    let memory = card.map(made)?;
    picture.draw(&memory);
    card.set(&screen, card.framebuffer(made.handle, picture)?)?;
    // Asked only now: as long as the console is shown, it copies.
    let before = desk.status()?["copied_bytes"].clone();
    let difference = desk.screenshot(0, 0)?.difference(picture);
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
    Ok(())
}

/// The object of a list that has this value under this key.
fn find<'a>(list: &'a Value, key: &str, value: &Value) -> &'a Value {
    let mut objects = list.as_array().into_iter().flatten();
    objects.find(|it| it[key] == *value).unwrap_or(&Value::Null)
}
