//! How every exporter's buffers are cached: what `landbridge-inspect` says, with
//! every degree of privilege, against the processor's own page table, which
//! QEMU reads from outside.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use landbridge_inspect::{Caching, Config, Error, Inspector, MapInfo, Source};
use rustix::io::Errno;

use crate::answers::{Answer, Asked, ask};
use crate::checks::Checks;
use crate::desk::Desk;
use crate::desk::machine::{DESK_ALONE, PORT, QMP};
use crate::exporters::{Access, Exported, NAMES, VFIO_DEVICES, VIVID_MODULE, of_this_machine};
use crate::scenario::{Body, Device, Expect, Kernel, Needs, Scenario, Storey};
use crate::sys::memory::{How, Map};
use crate::sys::privileges::{Who, run_as};
use crate::truth::Truth;

pub(super) const SCENARIOS: &[Scenario] = &[
    machine(
        "an_answer_equals_the_page_table",
        "however it is known, the caching that is told of an exporter's buffer is that of the page table",
        Kernel::ALL,
        DEVICES,
        plain,
    ),
    machine(
        "an_answer_equals_the_page_table_without_pat",
        "without the page attribute table, write-combining turns into what the processor does",
        &[Kernel::Linux7_2],
        NOPAT,
        without_pat,
    ),
    machine(
        "an_answer_equals_the_page_table_under_lockdown",
        "a kernel that hides its memory leaves what is certain, and the rest is said to be unknown",
        &[Kernel::Linux7_2],
        LOCKDOWN,
        locked_down,
    ),
];

const DEVICES: &[Device] = &with("plain", &[]);
const NOPAT: &[Device] = &with("nopat", &["nopat"]);
const LOCKDOWN: &[Device] = &with("lockdown", &["lockdown=confidentiality"]);

/// Every exporter's device, in a machine whose kernel is told these words.
const fn with(id: &'static str, kernel_args: &'static [&'static str]) -> [Device; 8] {
    let words = Device {
        kernel_args,
        ..Device::new(id, &[])
    };
    [
        PORT,
        QMP,
        Device::VIRTIO_GPU,
        Device::BOCHS,
        Device::QXL,
        VFIO_DEVICES[0],
        VFIO_DEVICES[1],
        words,
    ]
}

const fn machine(
    name: &'static str,
    claim: &'static str,
    kernels: &'static [Kernel],
    devices: &'static [Device],
    body: Body,
) -> Scenario {
    Scenario {
        name,
        claim,
        storey: Storey::Host,
        needs: Needs {
            kernels,
            modules: &[
                "vgem",
                VIVID_MODULE,
                "virtio-gpu",
                "bochs",
                "qxl",
                "vfio_iommu_type1 allow_unsafe_interrupts=1",
                "vfio-pci",
            ],
            devices,
            beside: &[DESK_ALONE],
            inside: &["landbridge"],
            huge_pages: 8,
            ..Needs::NOTHING
        },
        limit: Duration::from_secs(60),
        expect: Expect::Passes,
        body,
    }
}

/// Room for a page or more of every exporter, in whole pages.
const SIZE: u64 = 64 << 10;

const BROKER: &str = "/tmp/mapinfo";
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// What Linux 6.1 of Debian 12 does not have; none has a VFIO region before 7.0.
const NOT_IN_6_1: [&str; 4] = ["heap", "udmabuf", "udmabuf-huge", "bochs"];

/// A buffer, and what the page table says of its mapping here, where the exporter
/// allows one.
struct Subject {
    name: &'static str,
    buffer: Exported,
    here: Result<(Map, Option<Caching>), Errno>,
}

impl Subject {
    fn asked(&self) -> Asked<'_> {
        let driver = match self.name {
            "vgem" => Some("vgem"),
            "bochs" => Some("bochs-drm"),
            "qxl-ram" | "qxl-bar" => Some("qxl"),
            _ => None,
        };
        Asked {
            buffer: self.buffer.as_fd(),
            driver,
        }
    }

    /// Whether less than the page table may leave it unknown.
    fn may_be_unknown(&self, source: Source) -> bool {
        match source {
            Source::KernelIoctl | Source::Pte => false,
            // TTM alone does not keep to the protection.
            Source::Vma => self.name.starts_with("qxl"),
            Source::Rule => !["heap", "udmabuf", "vgem", "bochs"].contains(&self.name),
        }
    }

    fn truth(&self) -> Option<Caching> {
        self.here.as_ref().ok().and_then(|(_, truth)| *truth)
    }
}

fn plain(checks: &mut Checks) -> Result<()> {
    let subjects = subjects(checks)?;
    let old = release().starts_with("6.1.");
    for subject in &subjects {
        let want = match subject.name {
            "vfio" => None,
            // Its driver had no mmap for dma-bufs then.
            "qxl-ram" | "qxl-bar" if old => None,
            "vgem" | "qxl-bar" => Some(Caching::WriteCombining),
            _ => Some(Caching::WriteBack),
        };
        let what = format!("{}: the page table", subject.name);
        checks.equal(&what, &subject.truth(), &want);
    }
    everyone(checks, &subjects, Source::Pte)
}

fn without_pat(checks: &mut Checks) -> Result<()> {
    let subjects = subjects(checks)?;
    let combined = ["vgem", "qxl-bar"];
    for subject in subjects.iter().filter(|it| combined.contains(&it.name)) {
        let what = format!("{}: the page table", subject.name);
        checks.equal(&what, &subject.truth(), &Some(Caching::Uncached));
    }
    everyone(checks, &subjects, Source::Pte)
}

fn locked_down(checks: &mut Checks) -> Result<()> {
    let subjects = subjects(checks)?;
    everyone(checks, &subjects, Source::Vma)
}

/// One buffer of every exporter of this machine.
fn subjects(checks: &mut Checks) -> Result<Vec<Subject>> {
    let truth = Truth::open()?;
    let mut desk = Desk::open()?;
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut subjects = Vec::new();
    for name in NAMES {
        let exporter = of_this_machine(name);
        let buffer = exporter.and_then(|exporter| Ok(exporter.export(SIZE, Access::ReadWrite)?));
        let buffer = match buffer {
            Ok(buffer) => buffer,
            Err(error) => {
                let is = |series| release.starts_with(series);
                let absent = is("6.1.") && NOT_IN_6_1.contains(&name)
                    || (is("6.1.") || is("6.12.")) && name == "vfio";
                let what = format!("{name}: is only missing where it is known to be");
                checks.holds(&what, absent, format!("{error:#}"));
                continue;
            }
        };
        let here = Map::new(&buffer, 0, buffer.bytes(), How::SHARED).map(|map| {
            map.touch();
            let truth = truth.of(&mut desk, &map).context(name)?;
            Ok::<_, anyhow::Error>((map, truth))
        });
        let here = match here {
            Ok(seen) => Ok(seen?),
            Err(errno) => Err(errno),
        };
        subjects.push(Subject { name, buffer, here });
    }
    Ok(subjects)
}

fn release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

/// What root, the two capabilities, nobody, and nobody with a broker are told,
/// and root where BPF is interpreted. All but nobody must know it from `exact`, or
/// say that it is unknown where that is not enough.
fn everyone(checks: &mut Checks, subjects: &[Subject], exact: Source) -> Result<()> {
    told(checks, subjects, "root", (Who::Root, None), exact)?;
    own_mappings(checks, subjects, exact);
    told(
        checks,
        subjects,
        "two capabilities",
        (Who::Bpf, None),
        exact,
    )?;
    let nobody = (Who::User, None);
    told(checks, subjects, "no capability", nobody, Source::Rule)?;
    let mut broker = start_broker()?;
    let through = (Who::User, Some(BROKER));
    let answered = told(checks, subjects, "a broker's client", through, exact);
    broker.kill()?;
    broker.wait()?;
    std::fs::remove_file(BROKER)?;
    answered?;
    let before = std::fs::read_to_string(JIT)?;
    if let Err(error) = std::fs::write(JIT, "0") {
        checks.note(format!("the JIT can't be switched off: {error}"));
        return Ok(());
    }
    told(
        checks,
        subjects,
        "root without the JIT",
        (Who::Root, None),
        exact,
    )?;
    Ok(std::fs::write(JIT, before)?)
}

fn told(
    checks: &mut Checks,
    subjects: &[Subject],
    by: &str,
    (who, broker): (Who, Option<&str>),
    source: Source,
) -> Result<()> {
    // The broker's business is dma-bufs.
    let asked = subjects
        .iter()
        .filter(|subject| broker.is_none() || subject.name != "memfd");
    let asked: Vec<_> = asked.collect();
    let buffers: Vec<_> = asked.iter().map(|subject| subject.asked()).collect();
    let answers = ask(who, broker, &buffers).with_context(|| by.to_owned())?;
    for (subject, answer) in asked.into_iter().zip(answers) {
        let right = match (&answer, &subject.here) {
            (Answer::Is(info), Ok(_)) => is_right(info, subject.truth(), source),
            (Answer::Unknown(_), Ok(_)) => subject.may_be_unknown(source),
            (Answer::Error(error), Err(_)) => error.contains("refuses mmap"),
            _ => false,
        };
        let what = format!("{}: {by}", subject.name);
        checks.holds(&what, right, in_words(&answer, subject));
    }
    Ok(())
}

fn in_words(answer: &Answer, subject: &Subject) -> String {
    let said = match answer {
        Answer::Is(info) => format!("{:?} by {}", info.caching, info.source),
        Answer::Unknown(why) => format!("unknown: {why}"),
        Answer::Error(error) => error.clone(),
    };
    format!("{said}; truth: {:?}", subject.truth())
}

fn is_right(info: &MapInfo, truth: Option<Caching>, source: Source) -> bool {
    info.mappable && truth.is_some() && info.caching == truth && info.source == source
}

/// Our own mappings, whose page table was read.
fn own_mappings(checks: &mut Checks, subjects: &[Subject], source: Source) {
    let inspector = Inspector::open(Config::default());
    for subject in subjects {
        let Ok((map, truth)) = &subject.here else {
            continue;
        };
        let found = inspector.mapping(None, map.address() as u64);
        let right = match &found {
            Ok(found) => is_right(&found.info, *truth, source),
            Err(Error::Unknown { .. }) => subject.may_be_unknown(source),
            Err(_) => false,
        };
        let what = format!("{}: the mapping here", subject.name);
        let said = found.map(|found| (found.info.caching, found.info.source));
        checks.holds(&what, right, format!("{said:?}, truth: {truth:?}"));
    }
}

fn start_broker() -> Result<Child> {
    let mut command = Command::new("/bin/landbridge");
    command
        .args(["mapinfo", "--broker", BROKER, "--timeout", "10000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // A service manager would give it these two and nothing else.
    run_as(&mut command, Who::Bpf, &[]);
    let mut broker = command.spawn().context("starting the broker")?;
    let start = Instant::now();
    while !Path::new(BROKER).exists() {
        if let Some(status) = broker.try_wait()? {
            bail!("the broker ended: {status}");
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("the broker does not listen");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(broker)
}
