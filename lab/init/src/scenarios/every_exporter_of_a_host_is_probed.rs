//! `landbridge probe` on a machine with everything: the matrix that README shows.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::checks::Checks;
use crate::exporters::VIVID_MODULE;
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "every_exporter_of_a_host_is_probed",
    claim: "`landbridge probe` finds every exporter of a host, and a guest's processor reaches all that can be mapped",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", VIVID_MODULE, "virtio-gpu", "bochs", "qxl"],
        devices: &[Device::VIRTIO_GPU, Device::BOCHS, Device::QXL],
        inside: &["landbridge"],
        huge_pages: 8,
        kvm: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(90),
    expect: Expect::Passes,
    body,
};

/// Exporters by what is allocated: caching, get_user_pages, and whether a mapping may
/// start inside.
const EXPECTED: [(&str, &str, bool, bool); 9] = [
    ("udmabuf of a memfd", "write-back", false, true),
    ("udmabuf of huge pages", "write-back", false, true),
    ("heap system", "write-back", false, true),
    ("(vgem)", "write-combining", false, false),
    ("(virtio_gpu)", "write-back", false, false),
    ("(bochs-drm)", "write-back", false, false),
    ("(qxl)", "write-back", false, true),
    ("frame of video0", "write-back", true, false),
    ("frame of video1", "write-back", false, true),
];

fn body(checks: &mut Checks) -> Result<()> {
    let table = probe(&[])?;
    for line in table.lines() {
        checks.note(line);
    }
    let document: Value = serde_json::from_str(&probe(&["--json"])?)?;
    let rows: Vec<&Value> = document["rows"]
        .as_array()
        .context("no rows")?
        .iter()
        .collect();
    let found = |what: &str| {
        let is = |row: &&&Value| row["what"].as_str().is_some_and(|it| it.contains(what));
        rows.iter().find(is).copied().unwrap_or(&Value::Null)
    };
    for (what, caching, gup, offset) in EXPECTED {
        let row = found(what);
        let seen = json!([
            row["caching"],
            row["source"],
            row["gup"],
            row["offset_honoured"]
        ]);
        let want = json!([caching, "pte", gup, offset]);
        checks.equal(&format!("{what}: as mapped"), &seen, &want);
        let seen = json!([row["sync_file"], row["kvm"]]);
        checks.equal(
            &format!("{what}: has fences, and a guest reaches it"),
            &seen,
            &json!([true, true]),
        );
    }
    Ok(())
}

fn probe(more: &[&str]) -> Result<String> {
    let output = Command::new("/bin/landbridge")
        .args(["probe"])
        .args(more)
        .output()?;
    if !output.status.success() {
        bail!("probe: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
