//! `cargo xtask lab`: real kernels under software emulation.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use landbridge_lab::artifacts::{Artifacts, Missing};
use landbridge_lab::batch::Batch;
use landbridge_lab::conformance::{self, Matrix};
use landbridge_lab::outcome::{Judgement, Outcome, Summary};
use landbridge_lab::workshop::Workshop;
use landbridge_lab_init::scenario::{Kernel, Scenario};
use landbridge_lab_init::{benches, scenarios};

use crate::workspace;

#[derive(clap::Args, Default)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists the scenarios, their storeys and their claims.
    List {
        /// One JSON object per scenario.
        #[arg(long)]
        json: bool,
    },
    /// Prints the conformance matrix of every exporter.
    Conformance {
        /// Writes what the kernel does now to the golden file.
        #[arg(long)]
        bless: bool,
    },
    /// Prints the matrix of every exporter with every importer.
    Pairs {
        /// Writes what the kernel does now to the golden file.
        #[arg(long)]
        bless: bool,
    },
    /// Starts a machine with a shell and our programs in it.
    Shell {
        /// Modules to pack with what they depend on; `load` loads them.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "vgem,vivid,virtio-gpu,bochs,qxl,vfio-pci,vfio_iommu_type1"
        )]
        modules: Vec<String>,
    },
    /// Measures what `landbridge serve` costs a guest: part of no verdict.
    Bench {
        /// Shows the machine's console.
        #[arg(long)]
        console: bool,
    },
    /// Writes a stock kernel and an initrd with busybox, to try a GPU with.
    Guest {
        /// Where to write `vmlinuz` and `initrd`.
        folder: PathBuf,
    },
    /// Asks the mirror for the newest artifacts.
    Update,
}

/// Which scenarios run, and how they are shown.
#[derive(clap::Args, Default)]
struct Run {
    /// Only scenarios whose name contains one of these.
    names: Vec<String>,
    /// One JSON object per scenario, and the summary as the last.
    #[arg(long)]
    json: bool,
    /// Shows the machines' consoles.
    #[arg(long)]
    console: bool,
    /// Repeats what is repeated as often as the claims go: 10,000 blobs, 200
    /// drivers. CI runs the short forms.
    #[arg(long)]
    long: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        None => scenarios_by_name(&args.run),
        Some(Command::List { json }) => list(*json),
        Some(Command::Conformance { bless }) => matrix(&Kept::CONFORMANCE, *bless),
        Some(Command::Pairs { bless }) => matrix(&Kept::PAIRS, *bless),
        Some(Command::Shell { modules }) => shell(modules),
        Some(Command::Bench { console }) => bench(*console),
        Some(Command::Guest { folder }) => guest(folder),
        Some(Command::Update) => {
            let artifacts = Artifacts::obtain(&folder()?, true)?;
            println!("Linux {}", artifacts.kernel.version);
            println!(
                "QEMU {}.{}",
                artifacts.qemu.version.0, artifacts.qemu.version.1
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn scenarios_by_name(args: &Run) -> Result<ExitCode> {
    let chosen = choose(&args.names)?;
    let goldens = [Kept::CONFORMANCE.read()?, Kept::PAIRS.read()?];
    let start = Instant::now();
    let show = |outcome: &mut Outcome| {
        let is_pair = outcome.scenario.contains(Kept::PAIRS.scenarios);
        conformance::judge(outcome, &goldens[usize::from(is_pair)]);
        if args.json {
            println!("{}", serde_json::to_string(outcome).unwrap_or_default());
        } else {
            println!("{outcome}");
        }
        // Whoever reads this through a pipe wants it as it comes.
        let _ = std::io::stdout().flush();
    };
    let outcomes = outcomes(&chosen, args, show)?;
    let summary = Summary::of(&outcomes);
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        eprintln!("lab: {:.0} s", start.elapsed().as_secs_f64());
        println!("{summary}");
    }
    Ok(code(&summary))
}

/// A matrix that is kept in a golden file.
struct Kept {
    /// What the names of the scenarios that make it contain.
    scenarios: &'static str,
    /// The file, from the workspace's root.
    file: &'static str,
}

impl Kept {
    const CONFORMANCE: Self = Self {
        scenarios: "_as_written_down",
        file: "lab/conformance.golden",
    };
    const PAIRS: Self = Self {
        scenarios: "pairs_of_exporter_and_importer",
        file: "lab/pairs.golden",
    };

    fn path(&self) -> PathBuf {
        workspace::root().join(self.file)
    }

    /// What the file says; nothing if there is none yet.
    fn read(&self) -> Result<Matrix> {
        let path = self.path();
        if !path.exists() {
            return Ok(Matrix::default());
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(Matrix::parse(&text))
    }
}

fn matrix(kept: &Kept, bless: bool) -> Result<ExitCode> {
    let chosen = choose(&[kept.scenarios.to_owned()])?;
    let golden = kept.read()?;
    let outcomes = outcomes(&chosen, &Run::default(), |outcome| {
        if !bless {
            conformance::judge(outcome, &golden);
        }
        eprintln!("{outcome}");
    })?;
    let matrix = Matrix::gather(&outcomes);
    print!("{matrix}");
    if bless && !matrix.is_empty() {
        let path = kept.path();
        std::fs::write(&path, matrix.over(&golden).to_string())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let summary = Summary::of(&outcomes);
    println!("{summary}");
    Ok(code(&summary))
}

fn list(json: bool) -> Result<ExitCode> {
    for scenario in scenarios::ALL.iter() {
        let storey = scenario.storey.word();
        let kernels = scenario.needs.kernels.iter().map(|kernel| kernel.word());
        let kernels: Vec<_> = kernels.collect();
        if json {
            let object = serde_json::json!({
                "scenario": scenario.name,
                "storey": storey,
                "kernels": kernels,
                "claim": scenario.claim,
                "limit_seconds": scenario.limit.as_secs(),
                "modules": scenario.needs.modules,
            });
            println!("{object}");
        } else {
            let kernels = kernels.join(", ");
            println!(
                "{storey:<7} {} ({kernels})\n        {}",
                scenario.name, scenario.claim
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn shell(modules: &[String]) -> Result<ExitCode> {
    let folder = folder()?;
    let artifacts = Artifacts::obtain(&folder, false)?;
    let workshop = Workshop::new(
        &workspace::root(),
        &folder,
        artifacts,
        &["landbridge"],
        &[Kernel::Linux7_2],
    )?;
    let status = workshop.shell(modules)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bench(console: bool) -> Result<ExitCode> {
    let chosen: Vec<_> = benches::ALL.iter().collect();
    let run = Run {
        console,
        ..Run::default()
    };
    let outcomes = outcomes(&chosen, &run, |_| {})?;
    print!("{}", Matrix::gather(&outcomes));
    let summary = Summary::of(&outcomes);
    if summary.failed > 0 {
        outcomes.iter().for_each(|outcome| eprintln!("{outcome}"));
    }
    Ok(code(&summary))
}

fn guest(to: &Path) -> Result<ExitCode> {
    let folder = folder()?;
    let artifacts = Artifacts::obtain(&folder, false)?;
    let modules = landbridge_lab::workshop::modules_cache(&folder, &artifacts.kernel);
    let guest = landbridge_lab::guest::write(&artifacts, modules, to)?;
    println!("{}\n{}", guest.kernel.display(), guest.initrd.display());
    Ok(ExitCode::SUCCESS)
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let chosen: Vec<_> = scenarios::ALL
        .iter()
        .filter(|scenario| {
            let named = |name: &String| scenario.name == name;
            let matches = |name: &String| scenario.name.contains(name.as_str());
            if scenario.needs.long {
                names.iter().any(named)
            } else {
                names.is_empty() || names.iter().any(matches)
            }
        })
        .collect();
    if chosen.is_empty() {
        bail!("no scenario's name contains {}", names.join(" or "));
    }
    Ok(chosen)
}

fn outcomes(
    chosen: &[&'static Scenario],
    args: &Run,
    each: impl Fn(&mut Outcome) + Sync,
) -> Result<Vec<Outcome>> {
    let folder = folder()?;
    let artifacts = match Artifacts::obtain(&folder, false) {
        Ok(artifacts) => artifacts,
        Err(error) => {
            let missing: Missing = error.downcast()?;
            let mut outcomes = all_missing(chosen, &missing);
            outcomes.iter_mut().for_each(each);
            return Ok(outcomes);
        }
    };
    let packages = landbridge_lab::programs::of(chosen);
    let batches = Batch::group(chosen);
    let kernels: Vec<_> = batches.iter().map(|batch| batch.kernel).collect();
    let workshop = Workshop::new(&workspace::root(), &folder, artifacts, &packages, &kernels)?;
    let workshop = workshop.with_console(args.console).with_long(args.long);
    Ok(landbridge_lab::run::run(&workshop, batches, each))
}

/// Every scenario skipped, or failed where the lab is required.
fn all_missing(chosen: &[&'static Scenario], missing: &Missing) -> Vec<Outcome> {
    eprintln!("lab: {missing}");
    let kernels = |scenario: &'static Scenario| {
        let kernels = scenario.needs.kernels.iter();
        kernels.map(move |&kernel| (scenario, kernel))
    };
    chosen
        .iter()
        .flat_map(|scenario| kernels(scenario))
        .map(|(scenario, kernel)| Outcome::new(scenario, kernel, Judgement::missing(&missing.0)))
        .collect()
}

fn code(summary: &Summary) -> ExitCode {
    if summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Where the lab keeps what it fetches and builds.
fn folder() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace::root().join("target"), PathBuf::from)
        .join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
