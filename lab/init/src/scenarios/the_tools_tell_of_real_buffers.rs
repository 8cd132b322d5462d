//! `landbridge inspect`, `top` and `mapinfo`, as users run them, on a kernel with
//! real buffers.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::checks::Checks;
use crate::exporters::{Access, DISPLAYS, Exported, VIVID_MODULE, of_this_machine};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{Name, SET_NAME_B, set_name};
use crate::sys::memory::{How, Map};
use crate::sys::privileges::{Who, run_as};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "the_tools_tell_of_real_buffers",
    claim: "inspect, top and mapinfo tell of real buffers, and nobody is told a guess",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", VIVID_MODULE, "virtio-gpu", "bochs", "qxl"],
        devices: DISPLAYS,
        inside: &["landbridge"],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// The exporter, its name in the kernel, and the caching of its mappings.
const HELD: [(&str, &str, &str); 6] = [
    ("heap", "system", "write-back"),
    ("udmabuf", "udmabuf", "write-back"),
    ("vgem", "drm", "write-combining"),
    ("vivid-contig", "videobuf2_dma_contig", "write-back"),
    ("qxl-ram", "drm", "write-back"),
    ("qxl-bar", "drm", "write-combining"),
];

struct Held {
    name: &'static str,
    exporter: &'static str,
    caching: &'static str,
    buffer: Exported,
    _map: Map,
    inode: u64,
}

fn body(checks: &mut Checks) -> Result<()> {
    let held = HELD.map(hold).into_iter().collect::<Result<Vec<_>>>()?;
    inspect(checks, &held)?;
    others(checks, &held)?;
    top(checks, &held)?;
    mapinfo(checks, &held)
}

fn hold((name, exporter, caching): (&'static str, &'static str, &'static str)) -> Result<Held> {
    let buffer = of_this_machine(name)?.export(64 << 10, Access::ReadWrite)?;
    let mut bytes = Name::of(0);
    bytes.bytes[..name.len()].copy_from_slice(name.as_bytes());
    set_name(&buffer, SET_NAME_B, &mut bytes)?;
    let map = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    map.touch();
    let inode = rustix::fs::fstat(buffer.as_fd())?.st_ino;
    Ok(Held {
        name,
        exporter,
        caching,
        buffer,
        _map: map,
        inode,
    })
}

/// Everything about a buffer that is held and mapped here.
fn inspect(checks: &mut Checks, held: &[Held]) -> Result<()> {
    let all = json(Who::Root, &["inspect", "all", "--json"])?;
    checks.equal(
        "the kernel lists the buffers",
        &all["list"],
        &"kernel".into(),
    );
    let pid = std::process::id();
    for one in held {
        let seen = find(&all["buffers"], "inode", &one.inode.into());
        let known = (&seen["name"], &seen["exporter"], &seen["size"]);
        let want = (
            &one.name.into(),
            &one.exporter.into(),
            &one.buffer.size().into(),
        );
        checks.equal(
            &format!("{}: name, exporter, size", one.name),
            &known,
            &want,
        );
        let holder = find(&seen["holders"], "pid", &pid.into());
        let mapping = &holder["mappings"][0];
        checks.equal(
            &format!("{}: descriptor, caching, source", one.name),
            &(&holder["fds"][0], &mapping["caching"], &mapping["source"]),
            &(
                &one.buffer.as_fd().as_raw_fd().into(),
                &one.caching.into(),
                &"pte".into(),
            ),
        );
    }
    let ours = json(Who::Root, &["inspect", &pid.to_string(), "--json"])?;
    let count = ours["buffers"].as_array().map(Vec::len);
    checks.equal("of one process, its own", &count, &Some(held.len()));
    let table = run(Who::Root, &["inspect", "all"])?;
    checks.note(&table);
    let shown = held.iter().all(|one| table.contains(one.name));
    checks.holds("the table has all of them", shown, &table);
    Ok(())
}

/// What somebody without privileges sees, who is told what is missing.
fn others(checks: &mut Checks, held: &[Held]) -> Result<()> {
    let all = json(Who::User, &["inspect", "all", "--json"])?;
    checks.equal(
        "an ordinary user sees processes",
        &all["list"],
        &"processes".into(),
    );
    let none = held
        .iter()
        .all(|one| find(&all["buffers"], "inode", &one.inode.into()).is_null());
    checks.holds("and nothing of root's", none, &all["buffers"]);
    let unreadable = all["unreadable_processes"].as_u64();
    checks.holds(
        "and how many hide",
        unreadable > Some(0),
        &all["unreadable_processes"],
    );
    let missing = all["missing"].to_string();
    let said = missing.contains("CAP_BPF and CAP_PERFMON");
    checks.holds("and what would help", said, missing);
    checks.note(run(Who::User, &["inspect", "all"])?);
    Ok(())
}

fn top(checks: &mut Checks, held: &[Held]) -> Result<()> {
    let frame = run(Who::Root, &["top", "--once"])?;
    checks.note(&frame);
    let shown = held.iter().all(|one| frame.contains(one.name));
    checks.holds("top shows all of them", shown, frame);
    let newest = [
        "top", "--once", "--json", "--sort", "newest", "--filter", "qxl-bar",
    ];
    let one = json(Who::Root, &newest)?;
    let names: Vec<_> = one["buffers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| &it["name"])
        .collect();
    checks.equal(
        "and the one that is asked for",
        &names,
        &vec![&Value::from("qxl-bar")],
    );
    Ok(())
}

fn mapinfo(checks: &mut Checks, held: &[Held]) -> Result<()> {
    let pid = std::process::id().to_string();
    for one in held {
        let fd = one.buffer.as_fd().as_raw_fd().to_string();
        let told = json(
            Who::Root,
            &["mapinfo", "--pid", &pid, "--fd", &fd, "--json"],
        )?;
        checks.equal(
            &format!("{}: mapinfo", one.name),
            &(&told["caching"], &told["source"], &told["gup"]),
            &(&one.caching.into(), &"pte".into(), &false.into()),
        );
    }
    let fd = held[0].buffer.as_fd().as_raw_fd().to_string();
    let refused = run(Who::User, &["mapinfo", "--pid", &pid, "--fd", &fd]);
    checks.refused(
        "another user's buffer is not looked at",
        refused,
        "CAP_SYS_PTRACE",
    );
    Ok(())
}

/// The object of a list that has this value under this key.
fn find<'a>(list: &'a Value, key: &str, value: &Value) -> &'a Value {
    let mut objects = list.as_array().into_iter().flatten();
    objects.find(|it| it[key] == *value).unwrap_or(&Value::Null)
}

fn json(who: Who, arguments: &[&str]) -> Result<Value> {
    let text = run(who, arguments)?;
    serde_json::from_str(&text).with_context(|| arguments.join(" "))
}

/// Runs `landbridge`; its complaints are the error when it fails.
fn run(who: Who, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("/bin/landbridge");
    command.args(arguments).stdin(Stdio::null());
    run_as(&mut command, who, &[]);
    let output = command.output().context("starting landbridge")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{}: {}: {}",
        arguments.join(" "),
        output.status,
        complaints.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
