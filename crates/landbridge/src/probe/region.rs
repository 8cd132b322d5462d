//! Memory of PCI devices that are bound to vfio-pci: a page of the first BAR of each.
//! Opening such a device switches it on and may reset it, so that has to be asked for.

use std::fs::read_dir;

use landbridge_dmabuf::vfio::{BarRange, Container};
use landbridge_dmabuf::{DmaBuf, Error, page_size};
use landbridge_inspect::probe::{Outcome, Sample};

/// Where the devices are that nobody but user space drives.
const BOUND: &str = "/sys/bus/pci/drivers/vfio-pci";
/// The regions that are BARs.
const BARS: std::ops::Range<u32> = 0..6;

/// One sample for each bound device, revoked as soon as the device is closed again,
/// which its exporter's properties survive; or why not, where nobody `asked`.
pub(super) fn samples(asked: bool) -> Vec<Sample> {
    bound()
        .iter()
        .map(|address| {
            let what = format!("BAR of {address}");
            match asked {
                true => Sample::new(what, Some("vfio-pci"), of_device(address)),
                false => Sample {
                    what,
                    driver: None,
                    memory: Outcome::Failed(
                        "not tried: opening the device may reset it; --vfio does it".to_owned(),
                    ),
                },
            }
        })
        .collect()
}

/// Addresses such as 0000:00:03.0, in order.
fn bound() -> Vec<String> {
    let entries = read_dir(BOUND).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut devices: Vec<_> = names
        .filter(|name| name.matches(':').count() == 2)
        .collect();
    devices.sort();
    devices
}

fn of_device(address: &str) -> Result<DmaBuf, Error> {
    let device = Container::open()?.device(address)?;
    // A buffer of a device whose memory is off is born revoked.
    device.switch_memory(true)?;
    let page = BarRange {
        offset: 0,
        len: page_size(),
    };
    let mut last = None;
    for bar in BARS {
        match device.export(bar, &[page]) {
            Ok(buffer) => return Ok(buffer),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(Error::Empty { what: "a device" }))
}
