//! `landbridge recover`: a VM gets its device back after `serve` died.
//!
//! QEMU and the guest survive the death of a backend, but nothing reconnects
//! by itself: the device is taken out of the VM, connected to the new
//! `serve`, and put in again, as if somebody changed a card. docs/recovery.md
//! tells what the guest sees.

mod qmp;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use rustix::net::SocketAddrUnix;
use serde_json::{Map, Value, json};

pub use qmp::{Qmp, Refused};

use crate::failure::Failure;
use crate::serve::listen::is_alive;
use crate::terminal;

/// The command line of `landbridge recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge serve --gpu gpu.sock &
  landbridge recover --qmp qmp.sock --device landbridge-gpu0 \\
      --chardev landbridge-char0 --gpu gpu.sock

QEMU must have been started with a QMP socket (-qmp unix:qmp.sock,server,wait=off)
and the device on a bus that takes devices at run time, as --print-qemu-args
puts it. It may be run again after a failure.

Exit status: 0 when the VM has its device back, 1 when not.")]
pub struct Options {
    /// QEMU's monitor socket.
    #[arg(long, value_name = "SOCK")]
    pub qmp: PathBuf,

    /// The device's id in QEMU.
    #[arg(long, value_name = "ID")]
    pub device: String,

    /// The id of the character device that connects it.
    #[arg(long, value_name = "ID")]
    pub chardev: String,

    /// The socket on which `landbridge serve` serves the GPU again.
    #[arg(long, value_name = "SOCK")]
    pub gpu: PathBuf,

    /// The bus to put the device on [default: the one that it was on].
    #[arg(long, value_name = "ID")]
    pub bus: Option<String>,

    /// For how many seconds the guest may hold on to the device.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u64,
}

/// The kind of device that connects to ours.
const DRIVER: &str = "vhost-user-test-device-pci";

/// What makes such a device a virtio-gpu; taken over from the old one where it
/// still is.
const PROPERTIES: [(&str, u64); 4] = [
    ("virtio-id", 16),
    ("num_vqs", 2),
    ("vq_size", 256),
    (
        "config_size",
        landbridge_protocol_gpu::CONFIG_SPACE_SIZE as u64,
    ),
];

/// Runs `landbridge recover`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let gpu = std::path::absolute(&options.gpu)?;
    check_backend(&gpu)?;
    let mut qmp = Qmp::connect(&options.qmp)?;
    let old = Old::ask(&mut qmp, options)?;
    unplug(&mut qmp, options)?;
    plug(&mut qmp, options, &gpu, &old)?;
    let (device, gpu) = (&options.device, gpu.display());
    terminal::print(&format!("{device} is back, connected to {gpu}\n"))?;
    Ok(())
}

/// Makes sure that somebody serves before the device is taken away.
fn check_backend(gpu: &Path) -> anyhow::Result<()> {
    let nobody = || {
        format!(
            "nobody serves on {}: start `landbridge serve` first",
            gpu.display()
        )
    };
    let address = SocketAddrUnix::new(gpu).with_context(nobody)?;
    ensure!(is_alive(&address).with_context(nobody)?, nobody());
    Ok(())
}

/// What the old device was like.
#[derive(Debug, Default)]
struct Old {
    bus: Option<String>,
    properties: Map<String, Value>,
}

impl Old {
    /// Asks QEMU, which knows nothing if the device is gone already.
    fn ask(qmp: &mut Qmp, options: &Options) -> anyhow::Result<Self> {
        let mut get = |property: &str| {
            let path = format!("/machine/peripheral/{}", options.device);
            qmp.run("qom-get", json!({ "path": path, "property": property }))
        };
        let mut old = Self::default();
        if let Ok(bus) = get("parent_bus")? {
            // The path of the bus ends with its id.
            let path = bus.as_str().unwrap_or_default();
            old.bus = path
                .rsplit('/')
                .next()
                .filter(|id| !id.is_empty())
                .map(str::to_owned);
        }
        for (name, usual) in PROPERTIES {
            let value = get(name)?.unwrap_or(usual.into());
            old.properties.insert(name.to_owned(), value);
        }
        Ok(old)
    }
}

/// How the guest answered the request to let go of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LettingGo {
    Done,
    Refused,
}

fn unplug(qmp: &mut Qmp, options: &Options) -> anyhow::Result<()> {
    let id = options.device.as_str();
    match qmp.run("device_del", json!({ "id": id }))? {
        Ok(_) => {}
        // A recovery that came this far once goes on from here.
        Err(error) if error.class == "DeviceNotFound" => return Ok(()),
        Err(error) if is_under_way(&error) => {}
        Err(error) => {
            return Err(error).context(
                "the device can't be taken out of the running VM: it must be on a bus that takes \
             devices at run time (on q35 a pcie-root-port)",
            );
        }
    }
    let limit = Duration::from_secs(options.patience);
    let answer = qmp.wait_for(limit, |event, data| {
        let about_it = data["device"] == *id;
        match event {
            "DEVICE_DELETED" if about_it => Some(LettingGo::Done),
            "DEVICE_UNPLUG_GUEST_ERROR" if about_it => Some(LettingGo::Refused),
            _ => None,
        }
    })?;
    match answer {
        Some(LettingGo::Done) => Ok(()),
        Some(LettingGo::Refused) => bail!("the guest refuses to let go of {id}"),
        None => Err(anyhow!(
            "the guest did not let go of {id} in {limit:?}: it may be waiting for the dead \
             device; run this again, or restart the VM"
        )),
    }
}

/// An earlier request waits for the guest still.
fn is_under_way(error: &Refused) -> bool {
    error.reason.contains("already in the process of unplug")
}

/// Removes the connection to the dead backend. QEMU has it in use until it has
/// done with the device, a little after it says that the device is gone.
fn remove_chardev(qmp: &mut Qmp, chardev: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let start = Instant::now();
    while let Err(error) = qmp.run("chardev-remove", json!({ "id": chardev }))? {
        if !error.reason.contains("is busy") || start.elapsed() > PATIENCE {
            // Not there: a recovery that came this far once.
            tracing::debug!(%error, "going on");
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn plug(qmp: &mut Qmp, options: &Options, gpu: &Path, old: &Old) -> anyhow::Result<()> {
    let chardev = options.chardev.as_str();
    remove_chardev(qmp, chardev)?;
    let path = gpu
        .to_str()
        .with_context(|| format!("{} is not UTF-8", gpu.display()))?;
    qmp.run(
        "chardev-add",
        json!({
            "id": chardev,
            "backend": {
                "type": "socket",
                "data": {
                    "addr": { "type": "unix", "data": { "path": path } },
                    "server": false,
                },
            },
        }),
    )?
    .with_context(|| format!("QEMU can't connect to {path}"))?;
    let mut arguments = old.properties.clone();
    arguments.insert("driver".to_owned(), DRIVER.into());
    arguments.insert("id".to_owned(), options.device.clone().into());
    arguments.insert("chardev".to_owned(), chardev.into());
    if let Some(bus) = options.bus.as_ref().or(old.bus.as_ref()) {
        arguments.insert("bus".to_owned(), bus.clone().into());
    }
    qmp.run("device_add", Value::Object(arguments))?
        .context("the VM has lost the device; run this again once the cause is gone")?;
    Ok(())
}
