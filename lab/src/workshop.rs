//! Turns a batch into a machine: picks the modules, packs the initramfs, and
//! for a nested batch prepares the guest inside as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Mutex;

use anyhow::{Result, anyhow};
use landbridge_lab_init::boot::{LOAD, PORT_MODULES};
use landbridge_lab_init::nested::{self, Guest, KVM};
use landbridge_lab_init::report::{LONG_WORD, NEST_WORD, RUN_WORD, SHELL_WORD};
use landbridge_lab_init::scenario::{Beside, Device, Kernel as Series, Needs, Scenario, Storey};

use crate::artifacts::{Artifacts, Kernel, Missing, Qemu};
use crate::batch::Batch;
use crate::initramfs::Initramfs;
use crate::machine::{Board, Initrd, Machine, Shape};
use crate::modules::Modules;
use crate::programs;

/// How many times as long as its short form the long form of a scenario may take.
const LONG: u32 = 60;

/// Everything that machines are built from.
#[derive(Debug)]
pub struct Workshop {
    artifacts: Artifacts,
    stocks: BTreeMap<Series, Result<Stock, String>>,
    programs: PathBuf,
    console: bool,
    long: bool,
}

/// A kernel that machines may boot.
#[derive(Debug)]
struct Stock {
    kernel: Kernel,
    // One thread at a time decompresses modules.
    modules: Mutex<Modules>,
}

impl Stock {
    fn new(folder: &Path, kernel: Kernel) -> Result<Self> {
        let cache = modules_cache(folder, &kernel);
        let modules = Modules::index(&kernel.modules, cache)?;
        Ok(Self {
            kernel,
            modules: Mutex::new(modules),
        })
    }
}

impl Workshop {
    /// Gathers artifacts, the kernels of `series`, and programs: the init and the
    /// `packages`; `folder` is the lab's own. A series that can't be had is told
    /// by [`Workshop::missing`].
    ///
    /// # Errors
    /// When modules can't be read or the programs don't build.
    pub fn new(
        root: &Path,
        folder: &Path,
        artifacts: Artifacts,
        packages: &[&str],
        series: &[Series],
    ) -> Result<Self> {
        let packages = [&[programs::INIT], packages].concat();
        let programs = programs::build(root, folder, &packages)?;
        let mut stocks = BTreeMap::new();
        for &series in series {
            let stock = match artifacts.kernel(folder, series) {
                Ok(kernel) => Ok(Stock::new(folder, kernel)?),
                Err(error) => Err(error.downcast::<Missing>()?.0),
            };
            stocks.insert(series, stock);
        }
        Ok(Self {
            artifacts,
            stocks,
            programs,
            console: false,
            long: false,
        })
    }

    /// Why the kernel of a batch is missing, if it is.
    #[must_use]
    pub fn missing(&self, series: Series) -> Option<&str> {
        self.stocks.get(&series)?.as_ref().err().map(String::as_str)
    }

    fn stock(&self, series: Series) -> Result<&Stock> {
        match self.stocks.get(&series) {
            Some(Ok(stock)) => Ok(stock),
            Some(Err(reason)) => Err(anyhow!("{reason}")),
            None => Err(anyhow!("Linux {} was not asked for", series.word())),
        }
    }

    /// Shows every machine's console on standard error.
    #[must_use]
    pub fn with_console(mut self, shown: bool) -> Self {
        self.console = shown;
        self
    }

    /// Runs the long form of scenarios that have one.
    #[must_use]
    pub fn with_long(mut self, long: bool) -> Self {
        self.long = long;
        self
    }

    /// How many times its declared limit a scenario may take.
    #[must_use]
    pub fn patience(&self) -> u32 {
        if self.long { LONG } else { 1 }
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
        let stock = self.stock(Series::Linux7_2)?;
        let mut initramfs = self.initramfs(stock, &names)?;
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
        let mut shape = self.bare(stock, Board::Pc, initramfs, vec![SHELL_WORD.to_owned()]);
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
                let stock = self.stock(batch.kernel)?;
                let initramfs = self.initramfs_of(stock, batch)?;
                let words = vec![format!("{RUN_WORD}{}", names_of(&batch.scenarios))];
                let mut shape = self.bare(stock, board, initramfs, words);
                shape.devices = batch.devices();
                shape.restarts = batch.scenarios.iter().any(|it| it.needs.restarts);
                Ok(shape)
            }
            Storey::Nested => self.host_of(batch),
        }
    }

    /// The emulated machine with the guest of a nested batch packed into it.
    fn host_of(&self, batch: &Batch) -> Result<Shape> {
        let names = names_of(&batch.scenarios);
        let stock = self.stock(batch.kernel)?;
        let mut modules = nested::MODULES.to_vec();
        modules.extend(names_in(&batch.scenarios, |needs| needs.host.modules));
        let mut outer = self.initramfs(stock, &modules)?;
        let mut inner = self.bare(
            stock,
            Board::Inner,
            self.initramfs_of(stock, batch)?,
            vec![format!("{RUN_WORD}{names}")],
        );
        inner.devices = batch.devices();
        inner.memory_mib = 512;
        inner.kernel = Path::new(nested::KERNEL).join(file_name(&stock.kernel.image));
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
        let words = vec![format!("{NEST_WORD}{names}")];
        let mut shape = self.bare(stock, Board::PcWithKvm, outer, words);
        shape.memory_mib = 1536;
        shape.devices = batch
            .scenarios
            .iter()
            .flat_map(|scenario| scenario.needs.host.devices)
            .copied()
            .collect();
        shape.shares = vec![
            (nested::QEMU_TAG, tree),
            (nested::KERNEL_TAG, folder_of(&stock.kernel.image)),
        ];
        Ok(shape)
    }

    fn bare(
        &self,
        stock: &Stock,
        board: Board,
        initramfs: Initramfs,
        mut words: Vec<String>,
    ) -> Shape {
        if self.long {
            words.push(LONG_WORD.to_owned());
        }
        Shape {
            board,
            memory_mib: 1024,
            devices: Vec::new(),
            words,
            shares: Vec::new(),
            kernel: stock.kernel.image.clone(),
            initramfs: Initrd::Bytes(initramfs.finish()),
            interactive: false,
            restarts: false,
        }
    }

    /// What the body's machine of a batch has.
    fn initramfs_of(&self, stock: &Stock, batch: &Batch) -> Result<Initramfs> {
        let mut initramfs = self.initramfs(stock, &modules_of(&batch.scenarios))?;
        for package in programs::inside(&batch.scenarios) {
            initramfs.file(&format!("bin/{package}"), &self.programs.join(package))?;
        }
        Ok(initramfs)
    }

    fn initramfs(&self, stock: &Stock, modules: &[&str]) -> Result<Initramfs> {
        let mut initramfs = Initramfs::new(&self.programs.join(programs::INIT))?;
        let index = stock
            .modules
            .lock()
            .map_err(|_| anyhow!("a machine's builder panicked"))?;
        let port = PORT_MODULES.iter().filter(|name| index.has(name));
        let names = port.chain(modules).copied();
        initramfs.modules(&index.closure(names)?)?;
        Ok(initramfs)
    }
}

fn modules_of(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    let kvm = scenarios.iter().any(|scenario| scenario.needs.kvm);
    names_in(scenarios, |needs| needs.modules)
        .chain(kvm.then_some(KVM))
        .collect()
}

/// The names in module lines, without their parameters.
fn names_in<'a>(
    scenarios: &'a [&'static Scenario],
    lines: fn(&Needs) -> &'static [&'static str],
) -> impl Iterator<Item = &'static str> + 'a {
    scenarios
        .iter()
        .flat_map(move |scenario| lines(&scenario.needs))
        .filter_map(|line| line.split_whitespace().next())
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

/// Where the lab, whose own folder is `folder`, keeps the decompressed modules
/// of a kernel.
#[must_use]
pub fn modules_cache(folder: &Path, kernel: &Kernel) -> PathBuf {
    // The version is a path where the kernel was given.
    folder
        .join("modules")
        .join(kernel.version.replace('/', "_"))
}
