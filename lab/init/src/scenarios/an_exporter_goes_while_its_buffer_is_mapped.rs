//! An exporter's device is taken away, or its module would be, while a buffer of
//! it is imported elsewhere and mapped through it.

use std::fs::{read_dir, write};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use landbridge_dmabuf::gem::{Device, Object};
use landbridge_dmabuf::{Access, Bracketed, DmaBuf, Error, Wanted};

use crate::boot::{load, unload};
use crate::checks::Checks;
use crate::exporters::{
    Access as Mode, DISPLAYS, Dumb, Exported, Exporter, Gem, VIVID_MODULE, Vivid,
};
use crate::pairs::{PATIENCE, dma_buf, errno_name, fill};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::virtgpu::TAKEDOWN;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "an_exporter_goes_while_its_buffer_is_mapped",
    claim: "with the exporter's driver unbound, a mapping has its bytes or an error, and all closes",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem", "virtio-gpu", "bochs", "qxl", VIVID_MODULE],
        devices: DISPLAYS,
        alone: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

const SIZE: u64 = 64 << 10;

/// A driver, as sysfs has it, and what it exports.
struct Driver {
    bus: &'static str,
    name: &'static str,
    exporters: &'static [Make],
    /// Whether it can be bound again.
    comes_back: bool,
}

type Make = fn() -> Result<Box<dyn Exporter>>;

/// qxl comes last, because it does not come back: its driver, bound to a device
/// that it had before, was not done within half a minute.
const DRIVERS: [Driver; 4] = [
    Driver {
        bus: "pci",
        name: "bochs-drm",
        exporters: &[|| {
            Ok(Box::new(Gem::dumb(
                "bochs",
                Device::of_driver("bochs-drm")?,
            )))
        }],
        comes_back: true,
    },
    Driver {
        bus: "virtio",
        name: "virtio_gpu",
        exporters: &[|| {
            let device = Device::of_driver("virtio_gpu")?;
            Ok(Box::new(Gem::dumb("virtio-gpu", device)))
        }],
        comes_back: true,
    },
    Driver {
        bus: "platform",
        name: "vivid",
        exporters: &[
            || Ok(Box::new(Vivid::vmalloc()?)),
            || Ok(Box::new(Vivid::contiguous()?)),
        ],
        comes_back: true,
    },
    Driver {
        bus: "pci",
        name: "qxl",
        exporters: &[
            || Ok(Box::new(Gem::dumb("qxl-ram", Device::of_driver("qxl")?))),
            || Ok(Box::new(Dumb::surfaces_of_qxl("qxl-bar")?)),
        ],
        comes_back: false,
    },
];

fn body(checks: &mut Checks) -> Result<()> {
    checks.excuse(&[TAKEDOWN]);
    a_module_stays(checks)?;
    let importer = Device::of_driver("vgem")?;
    for driver in &DRIVERS {
        goes(checks, &importer, driver).context(driver.name)?;
    }
    Ok(())
}

fn goes(checks: &mut Checks, importer: &Device, driver: &Driver) -> Result<()> {
    let hold = |make: &Make| Held::new(importer, make()?);
    let held: Vec<_> = driver.exporters.iter().map(hold).collect::<Result<_>>()?;
    let devices = driver.unbind()?;
    for held in held {
        held.check(checks, importer)?;
    }
    checks.equal("open handles", &importer.open_handles(), &0);
    if driver.comes_back {
        driver.bind(&devices)?;
        for make in driver.exporters {
            let next = make()?.export(SIZE, Mode::ReadWrite)?;
            fill(&Bracketed::of(dma_buf(&next)?, Access::ReadWrite)?, BEFORE)?;
        }
    }
    Ok(())
}

/// A buffer of somebody's that is imported and mapped.
struct Held {
    // Field order: the owner's handle goes after the rest.
    object: Object,
    memory: Bracketed,
    /// Another mapping, which nothing has touched.
    untouched: Bracketed,
    buffer: DmaBuf,
    exported: Exported,
    exporter: Box<dyn Exporter>,
}

impl Held {
    fn new(importer: &Device, exporter: Box<dyn Exporter>) -> Result<Self> {
        let exported = exporter.export(SIZE, Mode::ReadWrite)?;
        let buffer = dma_buf(&exported)?;
        let object = importer.import(&buffer)?;
        let memory = object.map(Wanted::Any, Access::ReadWrite, &None)?;
        fill(&memory, BEFORE)?;
        Ok(Self {
            object,
            memory,
            untouched: Bracketed::of(buffer.try_clone()?, Access::ReadWrite)?,
            buffer,
            exported,
            exporter,
        })
    }

    /// What is left of it once the driver is gone, and then piece by piece.
    fn check(self, checks: &mut Checks, importer: &Device) -> Result<()> {
        let name = self.exporter.name();
        let stay = |checks: &mut Checks, how: &str, became: &str| {
            checks.holds(&format!("{name}: the bytes, {how}"), became == STAY, became);
        };
        stay(checks, "mapped", &bytes(&self.memory));
        stay(checks, "mapped and never touched", &bytes(&self.untouched));
        let late = Bracketed::of(self.buffer.try_clone()?, Access::ReadWrite);
        let late = late.as_ref().map_or_else(errno_name, bytes);
        stay(checks, "mapped anew", &late);
        let again = importer.import(&self.buffer).map(|again| again.handle());
        checks.equal(
            &format!("{name}: imported again it has its handle"),
            &again.ok(),
            &Some(self.object.handle()),
        );
        drop((self.exported, self.exporter));
        stay(checks, "without their owner", &bytes(&self.memory));
        drop((self.object, self.untouched, self.buffer));
        stay(checks, "by a mapping alone", &bytes(&self.memory));
        Ok(())
    }
}

/// What is written while the exporter is there.
const BEFORE: u8 = 0x5a;
/// What becomes of it.
const STAY: &str = "stay";

/// What becomes of the bytes; writes them again, so that it can be asked again.
fn bytes(memory: &Bracketed) -> String {
    let look = || {
        let bracket = memory.write(PATIENCE)?;
        let view = bracket.view();
        let mut all = vec![0; memory.len()];
        view.copy_to(0, &mut all)?;
        view.fill(0, memory.len(), BEFORE)?;
        bracket.end()?;
        Ok(all.iter().all(|byte| *byte == BEFORE))
    };
    match look() {
        Ok(true) => STAY.to_owned(),
        Ok(false) => "are others".to_owned(),
        Err(Error::Gone) => "are gone".to_owned(),
        Err(e) => errno_name(&e),
    }
}

/// vgem has no device to unbind, and its module does not go while there is a
/// buffer of it, whoever has that.
fn a_module_stays(checks: &mut Checks) -> Result<()> {
    let importer = Device::of_driver("bochs-drm")?;
    let own = Device::of_driver("vgem")?.create_dumb(1024, 16, 32)?.object;
    let object = importer.import(&own.export()?)?;
    let memory = object.map(Wanted::Any, Access::ReadWrite, &None)?;
    fill(&memory, BEFORE)?;
    checks.answers(
        "vgem's module, with its node open",
        unload("vgem"),
        "EAGAIN",
    );
    drop(own);
    checks.answers("with a buffer elsewhere", unload("vgem"), "EAGAIN");
    drop(object);
    checks.answers("with a mapping alone", unload("vgem"), "EAGAIN");
    let became = bytes(&memory);
    checks.holds("vgem: the bytes", became == STAY, became);
    drop(memory);
    checks.answers("with nothing left", unload("vgem"), "ok");
    load("vgem")?;
    Device::of_driver("vgem")?;
    Ok(())
}

impl Driver {
    fn folder(&self) -> String {
        format!("/sys/bus/{}/drivers/{}", self.bus, self.name)
    }

    /// Takes its devices away; these are their names.
    fn unbind(&self) -> Result<Vec<String>> {
        let mut devices = Vec::new();
        for entry in read_dir(self.folder())? {
            let entry = entry?;
            // A device's own folder has its driver; `module` has none.
            if entry.path().join("driver").exists() {
                devices.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        if devices.is_empty() {
            return Err(anyhow!("{} has no device", self.name));
        }
        self.tell("unbind", &devices)?;
        Ok(devices)
    }

    fn bind(&self, devices: &[String]) -> Result<()> {
        self.tell("bind", devices)
    }

    fn tell(&self, file: &str, devices: &[String]) -> Result<()> {
        for device in devices {
            let path = format!("{}/{file}", self.folder());
            write(&path, device).with_context(|| format!("{device} to {path}"))?;
        }
        Ok(())
    }
}
