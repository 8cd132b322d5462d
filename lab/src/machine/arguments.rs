//! What QEMU is told, for a machine on this one and for a guest inside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use landbridge_lab_init::report::PORT;
use landbridge_lab_init::scenario::Device;

/// Whose hardware a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// A PC under software emulation.
    Pc,
    /// The same with AMD's virtualisation and one processor: with more, guests
    /// in it stop now and then, whether one thread emulates them or several.
    PcWithKvm,
    /// A small machine under KVM, inside [`Board::PcWithKvm`]: a whole PC takes
    /// its firmware minutes there.
    Inner,
}

/// A machine as it is to be started.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The hardware.
    pub board: Board,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Devices beyond what every machine has.
    pub devices: Vec<Device>,
    /// Words for the kernel's command line.
    pub words: Vec<String>,
    /// Folders that the machine can mount, by tag.
    pub shares: Vec<(&'static str, PathBuf)>,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs; written to the run's folder when it is bytes.
    pub initramfs: Initrd,
    /// Whether a human sits at the console.
    pub interactive: bool,
    /// Whether the machine may restart, instead of ending when it does.
    pub restarts: bool,
}

/// Where the initramfs is.
#[derive(Debug, Clone)]
pub enum Initrd {
    /// Not written yet.
    Bytes(Vec<u8>),
    /// A file, as the machine that runs QEMU sees it.
    File(PathBuf),
}

/// The console shows what the init prints and what is wrong with the kernel; a
/// kernel in trouble ends the machine. Mitigations cost time here and guard
/// nobody.
const KERNEL_WORDS: &str = "console=ttyS0 loglevel=4 oops=panic panic=-1 reboot=t mitigations=off";

impl Shape {
    /// QEMU's arguments; `folder` is the run's own.
    ///
    /// # Errors
    /// When the initramfs can't be written.
    pub fn arguments(&self, folder: &Path) -> Result<Vec<OsString>> {
        let initrd = match &self.initramfs {
            Initrd::File(path) => path.clone(),
            Initrd::Bytes(bytes) => {
                let path = folder.join("initramfs");
                std::fs::write(&path, bytes).context("writing the initramfs")?;
                path
            }
        };
        let mut arguments: Vec<OsString> = self.fixed().into_iter().map(Into::into).collect();
        for device in &self.devices {
            let run = folder.display().to_string();
            arguments.extend(
                device
                    .args
                    .iter()
                    .map(|text| text.replace("{run}", &run).into()),
            );
        }
        for (tag, path) in &self.shares {
            arguments.push("-virtfs".into());
            let path = path.display();
            arguments.push(
                format!("local,path={path},mount_tag={tag},security_model=none,readonly=on,multidevs=remap")
                    .into(),
            );
        }
        arguments.extend(["-kernel".into(), self.kernel.clone().into()]);
        arguments.extend(["-initrd".into(), initrd.into()]);
        arguments.extend(["-append".into(), self.command_line().into()]);
        Ok(arguments)
    }

    fn command_line(&self) -> String {
        let mut words = Vec::new();
        for device in &self.devices {
            words.extend(device.kernel_args.iter().map(|word| (*word).to_owned()));
        }
        // The last console is the one that programs write to.
        words.push(KERNEL_WORDS.to_owned());
        words.extend(self.words.iter().cloned());
        words.join(" ")
    }

    fn fixed(&self) -> Vec<String> {
        let (machine, cpu, accel) = match self.board {
            Board::Pc => ("q35", "max", "tcg,thread=multi"),
            Board::PcWithKvm => ("q35", "EPYC,+svm,+npt", "tcg,thread=single"),
            Board::Inner => (
                "microvm,acpi=on,pcie=on,pic=off,pit=off,rtc=off,isa-serial=on",
                "host",
                "kvm",
            ),
        };
        let processors = if self.board == Board::Pc { "2" } else { "1" };
        let mut arguments = vec![
            "-nodefaults".to_owned(),
            "-no-user-config".to_owned(),
            "-display".to_owned(),
            "none".to_owned(),
            "-machine".to_owned(),
            machine.to_owned(),
            "-accel".to_owned(),
            accel.to_owned(),
            "-cpu".to_owned(),
            cpu.to_owned(),
            "-smp".to_owned(),
            processors.to_owned(),
        ];
        arguments.extend(self.memory());
        if !self.restarts {
            arguments.push("-no-reboot".to_owned());
        }
        arguments.extend(self.channels().into_iter().map(str::to_owned));
        arguments.push("-device".to_owned());
        arguments.push(format!("virtserialport,chardev=report,name={PORT}"));
        arguments
    }

    /// Memory that programs beside the machine can be handed, for each node if it
    /// has some.
    fn memory(&self) -> Vec<String> {
        let mib = self.memory_mib;
        let backend = |id, mib| format!("memory-backend-memfd,id={id},size={mib}M,share=on");
        let mut arguments = vec!["-m".to_owned(), format!("{mib}M"), "-object".to_owned()];
        if self.devices.contains(&Device::TWO_NODES) {
            arguments.push(backend("mem", mib / 2));
            arguments.push("-object".to_owned());
            arguments.push(backend("mem1", mib / 2));
        } else {
            arguments.push(backend("mem", mib));
            arguments.push("-machine".to_owned());
            arguments.push("memory-backend=mem".to_owned());
        }
        arguments
    }

    /// The report port is QEMU's standard input and the console its standard
    /// output, both sockets; a human has the console as it is, and no report.
    fn channels(&self) -> Vec<&'static str> {
        let (report, console) = if self.interactive {
            ("null,id=report", "stdio,id=console,signal=off")
        } else {
            ("socket,id=report,fd=0", "socket,id=console,fd=1")
        };
        vec![
            "-chardev",
            report,
            "-chardev",
            console,
            "-serial",
            "chardev:console",
            "-device",
            "virtio-serial-pci",
        ]
    }
}
