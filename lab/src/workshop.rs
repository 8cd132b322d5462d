//! Turns a batch into a machine: picks the modules, packs the initramfs, and
//! for a nested batch prepares the guest inside as well.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Mutex;

use anyhow::{Result, anyhow};
use landbridge_lab_init::boot::LOAD;
use landbridge_lab_init::nested::{self, Guest, KVM};
use landbridge_lab_init::report::{NEST_WORD, RUN_WORD, SHELL_WORD};
use landbridge_lab_init::scenario::{Beside, Device, Scenario, Storey};

use crate::artifacts::{Artifacts, Qemu};
use crate::batch::Batch;
use crate::initramfs::Initramfs;
use crate::machine::{Board, Initrd, Machine, Shape};
use crate::modules::Modules;
use crate::programs;

/// Everything that machines are built from.
#[derive(Debug)]
pub struct Workshop {
    artifacts: Artifacts,
    // One thread at a time decompresses modules.
    modules: Mutex<Modules>,
    programs: PathBuf,
    console: bool,
}

impl Workshop {
    /// Gathers artifacts, modules and programs; `folder` is the lab's own.
    ///
    /// # Errors
    /// When artifacts are missing or the programs don't build.
    pub fn new(root: &Path, folder: &Path, artifacts: Artifacts, beside: &[&str]) -> Result<Self> {
        let mut packages = vec![programs::INIT];
        packages.extend(beside);
        let programs = programs::build(root, folder, &packages)?;
        let cache = folder
            .join("modules")
            .join(cache_key(&artifacts.kernel.version));
        let modules = Modules::index(&artifacts.kernel.modules, cache)?;
        Ok(Self {
            artifacts,
            modules: Mutex::new(modules),
            programs,
            console: false,
        })
    }

    /// Shows every machine's console on standard error.
    #[must_use]
    pub fn with_console(mut self, shown: bool) -> Self {
        self.console = shown;
        self
    }

    /// The QEMU that machines run on.
    #[must_use]
    pub fn qemu(&self) -> &Qemu {
        &self.artifacts.qemu
    }

    /// Starts the machine of `batch`.
    ///
    /// # Errors
    /// When it can't be built or started.
    pub fn start(&self, batch: &Batch) -> Result<Machine> {
        let shape = self.shape(batch)?;
        let beside: Vec<Beside> = match batch.storey {
            Storey::Nested => Vec::new(),
            Storey::Host | Storey::Guest => batch
                .scenarios
                .iter()
                .flat_map(|scenario| scenario.needs.beside)
                .copied()
                .collect(),
        };
        let machine = Machine::start(&self.artifacts.qemu, &shape, &self.programs, &beside)?;
        Ok(machine.shown(self.console))
    }

    /// Runs a machine with a shell on this terminal, with `modules` packed but
    /// not loaded and our programs in /bin, until it is switched off.
    ///
    /// # Errors
    /// When there is no busybox, or the machine can't be built.
    pub fn shell(&self, modules: &[String]) -> Result<ExitStatus> {
        let names: Vec<&str> = modules.iter().map(String::as_str).collect();
        let mut initramfs = self.initramfs(&names)?;
        let busybox = self.artifacts.busybox.as_deref().ok_or_else(|| {
            anyhow!("an interactive machine needs busybox, which comes with the packaged QEMU only")
        })?;
        initramfs.file("bin/busybox", busybox)?;
        let load = format!(
            "#!/bin/busybox sh\nexec {} {} \"$*\"\n",
            programs::INIT,
            LOAD
        );
        initramfs.contents("bin/load", load.as_bytes());
        for program in programs::all(&self.programs)? {
            let name = file_name(&program);
            initramfs.file(&format!("bin/{}", name.display()), &program)?;
        }
        let mut shape = self.bare(Board::Pc, initramfs, vec![SHELL_WORD.to_owned()]);
        shape.devices = vec![Device::VIRTIO_GPU, Device::BOCHS, Device::QXL];
        shape.devices.extend([Device::IOMMU, Device::RAM_BAR]);
        shape.interactive = true;
        Machine::interact(&self.artifacts.qemu, &shape)
    }

    fn shape(&self, batch: &Batch) -> Result<Shape> {
        match batch.storey {
            Storey::Host | Storey::Guest => {
                let board = if batch.needs_kvm() {
                    Board::PcWithKvm
                } else {
                    Board::Pc
                };
                let initramfs = self.initramfs(&modules_of(&batch.scenarios))?;
                let names = names_of(&batch.scenarios);
                let mut shape = self.bare(board, initramfs, vec![format!("{RUN_WORD}{names}")]);
                shape.devices = batch.devices();
                Ok(shape)
            }
            Storey::Nested => self.host_of(batch),
        }
    }

    /// The emulated machine with the guest of a nested batch packed into it.
    fn host_of(&self, batch: &Batch) -> Result<Shape> {
        let names = names_of(&batch.scenarios);
        let mut outer = self.initramfs(&nested::MODULES)?;
        let mut inner = self.bare(
            Board::Inner,
            self.initramfs(&modules_of(&batch.scenarios))?,
            vec![format!("{RUN_WORD}{names}")],
        );
        inner.devices = batch.devices();
        inner.memory_mib = 512;
        inner.kernel = Path::new(nested::KERNEL).join(file_name(&self.artifacts.kernel.image));
        let packed =
            std::mem::replace(&mut inner.initramfs, Initrd::File(nested::INITRAMFS.into()));
        if let Initrd::Bytes(bytes) = packed {
            outer.contents(nested::INITRAMFS.trim_start_matches('/'), &bytes);
        }
        let qemu = &self.artifacts.qemu;
        let tree = qemu.tree.clone().ok_or_else(|| {
            anyhow!("a nested guest needs the packaged QEMU: one of your own can't be carried into the emulated machine")
        })?;
        let inside = Path::new(nested::QEMU);
        let mut command = qemu.command(Some(inside));
        command.extend(inner.arguments(Path::new(nested::RUN))?);
        let (variable, value) = Qemu::environment(inside);
        let beside: Vec<Beside> = batch
            .scenarios
            .iter()
            .flat_map(|scenario| scenario.needs.beside)
            .copied()
            .collect();
        for program in &beside {
            outer.file(
                &format!("bin/{}", program.program),
                &self.programs.join(program.program),
            )?;
        }
        let guest = Guest {
            command: command
                .into_iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            environment: vec![(variable.to_owned(), value.display().to_string())],
        };
        outer.contents(
            nested::GUEST.trim_start_matches('/'),
            &serde_json::to_vec(&guest)?,
        );
        let mut shape = self.bare(Board::PcWithKvm, outer, vec![format!("{NEST_WORD}{names}")]);
        shape.memory_mib = 1536;
        shape.shares = vec![
            (nested::QEMU_TAG, tree),
            (nested::KERNEL_TAG, folder_of(&self.artifacts.kernel.image)),
        ];
        Ok(shape)
    }

    fn bare(&self, board: Board, initramfs: Initramfs, words: Vec<String>) -> Shape {
        Shape {
            board,
            memory_mib: 1024,
            devices: Vec::new(),
            words,
            shares: Vec::new(),
            kernel: self.artifacts.kernel.image.clone(),
            initramfs: Initrd::Bytes(initramfs.finish()),
            interactive: false,
        }
    }

    fn initramfs(&self, modules: &[&str]) -> Result<Initramfs> {
        let mut initramfs = Initramfs::new(&self.programs.join(programs::INIT))?;
        let index = self
            .modules
            .lock()
            .map_err(|_| anyhow!("a machine's builder panicked"))?;
        initramfs.modules(&index.closure(modules.iter().copied())?)?;
        Ok(initramfs)
    }
}

fn modules_of(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    scenarios
        .iter()
        .flat_map(|scenario| scenario.needs.modules)
        .filter_map(|line| line.split_whitespace().next())
        .chain(
            scenarios
                .iter()
                .any(|scenario| scenario.needs.kvm)
                .then_some(KVM),
        )
        .collect()
}

fn names_of(scenarios: &[&'static Scenario]) -> String {
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    names.join(",")
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn file_name(path: &Path) -> PathBuf {
    path.file_name().map_or_else(PathBuf::new, PathBuf::from)
}

fn cache_key(version: &str) -> String {
    version.replace('/', "_")
}
