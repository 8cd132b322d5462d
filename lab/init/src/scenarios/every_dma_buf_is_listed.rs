//! The kernel's own table of dma-bufs, `bufinfo`, against what
//! `landbridge-inspect` lists, while buffers come and go all the time.
//!
//! Inode numbers of dma-bufs only grow, so what is in the table before and after
//! a list was taken must be in the list, and what is in the list alone must have
//! been made in between.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use landbridge_inspect::report::{Buffer, ListSource, collect};
use landbridge_inspect::{Config, Inspector};
use rustix::io::Errno;

use crate::checks::Checks;
use crate::exporters::{Access, DISPLAYS, Dumb, Exported, Exporter, OverMemfd, SystemHeap};
use crate::scenario::{Expect, Kernel, Needs, Scenario, Storey};
use crate::sys::dma_buf::{Name, SET_NAME_B, set_name};
use crate::sys::drm::Card;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "every_dma_buf_is_listed_while_others_come_and_go",
    claim: "every dma-buf of bufinfo is listed with its size, name and importers, in all bustle",
    storey: Storey::Host,
    needs: Needs {
        kernels: Kernel::ALL,
        modules: &["vgem", "bochs"],
        devices: DISPLAYS,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(90),
    expect: Expect::Passes,
    body,
};

/// Buffers that come and go; fewer where the list is bufinfo's, which the kernel
/// writes slowly.
const PASSING: usize = 10_000;
const PASSING_BUFINFO: usize = 2_500;
/// Of which so many are there at a time.
const AT_A_TIME: usize = 48;
/// Buffers that stay, with names and importers.
const STAYING: u64 = 12;

const BUFINFO: &str = "/sys/kernel/debug/dma_buf/bufinfo";

fn body(checks: &mut Checks) -> Result<()> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let (source, passing) = if release.starts_with("6.") {
        (ListSource::Bufinfo, PASSING_BUFINFO)
    } else {
        (ListSource::Kernel, PASSING)
    };
    let staying = Staying::make()?;
    let inspector = Inspector::open(Config::default());
    let made = AtomicUsize::new(0);
    let mut rounds = Rounds::default();
    std::thread::scope(|scope| {
        let bustle = scope.spawn(|| come_and_go(passing, &made));
        while !bustle.is_finished() {
            rounds.one(&inspector)?;
        }
        match bustle.join() {
            Ok(done) => done,
            Err(_) => bail!("the bustle panicked"),
        }
    })?;
    checks.equal(
        "so many came and went",
        &made.load(Ordering::Relaxed),
        &passing,
    );
    checks.holds(
        "the list was taken meanwhile",
        rounds.taken > 0,
        rounds.told(),
    );
    checks.equal("nothing was wrong in it", &rounds.wrong, &Vec::new());
    let end = collect(&inspector, None);
    checks.equal("it comes from", &end.list, &source);
    staying.check(checks, &end.buffers);
    Ok(())
}

/// What the table says of one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    size: u64,
    exporter: String,
    name: Option<String>,
    importers: Vec<String>,
}

impl Row {
    fn of(buffer: &Buffer) -> Self {
        let importers = buffer.importers.as_ref();
        let mut importers = importers.map_or_else(Vec::new, |it| it.devices.clone());
        importers.sort();
        Self {
            size: buffer.size,
            exporter: buffer.exporter.clone(),
            name: buffer.name.clone(),
            importers,
        }
    }
}

/// Lists that were compared with the table.
#[derive(Debug, Default)]
struct Rounds {
    taken: usize,
    compared: usize,
    wrong: Vec<String>,
    longest: Duration,
}

impl Rounds {
    fn one(&mut self, inspector: &Inspector) -> Result<()> {
        let before = bufinfo()?;
        let start = Instant::now();
        let listed = collect(inspector, None);
        self.longest = self.longest.max(start.elapsed());
        let after = bufinfo()?;
        let listed: BTreeMap<u64, Row> = listed
            .buffers
            .iter()
            .map(|buffer| (buffer.inode, Row::of(buffer)))
            .collect();
        self.taken += 1;
        for (inode, row) in before.iter().filter(|(inode, _)| after.contains_key(inode)) {
            self.compared += 1;
            if listed.get(inode) != Some(row) {
                let found = listed.get(inode);
                self.wrong
                    .push(format!("{inode}: {row:?} is listed as {found:?}"));
            }
        }
        let newest = before.keys().next_back().copied().unwrap_or(0);
        for (inode, row) in listed {
            if inode <= newest && !before.contains_key(&inode) {
                self.wrong
                    .push(format!("{inode}: {row:?} is listed and is not there"));
            }
        }
        Ok(())
    }

    fn told(&self) -> String {
        format!(
            "{} times, {} buffers compared, {} ms at most",
            self.taken,
            self.compared,
            self.longest.as_millis()
        )
    }
}

/// Reads the table (`dma_buf_debug_show` in drivers/dma-buf/dma-buf.c), by inode.
fn bufinfo() -> Result<BTreeMap<u64, Row>> {
    let text = std::fs::read_to_string(BUFINFO).context(BUFINFO)?;
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    let mut last = None;
    for line in text
        .lines()
        .skip_while(|line| !line.starts_with("size"))
        .skip(1)
    {
        let columns: Vec<&str> = line.split('\t').collect();
        if let [size, _, _, count, exporter, inode, name] = columns[..] {
            // The last holder has let go of it: it is on its way out.
            last = (count.trim().parse() != Ok(0))
                .then(|| inode.trim().parse())
                .transpose()?;
            let row = Row {
                size: size.trim().parse()?,
                exporter: exporter.to_owned(),
                name: (name != "<none>").then(|| name.to_owned()),
                importers: Vec::new(),
            };
            rows.extend(last.map(|inode| (inode, row)));
        } else if let ["", device] = columns[..]
            && device != "Attached Devices:"
            && !device.contains("fence:")
        {
            let row = last.and_then(|inode| rows.get_mut(&inode));
            row.into_iter()
                .for_each(|row| row.importers.push(device.to_owned()));
        }
    }
    rows.values_mut().for_each(|row| row.importers.sort());
    Ok(rows)
}

/// The exporters of this kernel that make buffers fast.
fn exporters() -> Result<Vec<Box<dyn Exporter>>> {
    let mut all: Vec<Box<dyn Exporter>> = vec![Box::new(Dumb::of("vgem", "vgem")?)];
    all.extend(OverMemfd::small().ok().map(|it| Box::new(it) as _));
    all.extend(SystemHeap::open().ok().map(|it| Box::new(it) as _));
    Ok(all)
}

fn come_and_go(passing: usize, made: &AtomicUsize) -> Result<()> {
    let exporters = exporters()?;
    let mut there = Vec::new();
    for number in 0..passing {
        let pages = 1 + number as u64 % 3;
        let exporter = &exporters[number % exporters.len()];
        there.push(exporter.export(pages << 12, Access::ReadWrite)?);
        if there.len() == AT_A_TIME {
            // From the middle, so that old and new ones go.
            there.drain(AT_A_TIME / 4..AT_A_TIME * 3 / 4);
        }
        made.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Buffers with names and importers.
struct Staying {
    buffers: Vec<(Exported, Row, u64)>,
    // Held for their imports.
    _importers: [Card; 2],
}

impl Staying {
    fn make() -> Result<Self> {
        let importers = [Card::open("vgem")?, Card::open("bochs-drm")?];
        let exporters = exporters()?;
        let mut buffers = Vec::new();
        for number in 0..STAYING {
            let exporter = &exporters[number as usize % exporters.len()];
            let size = (number + 1) << 14;
            let buffer = exporter.export(size, Access::ReadWrite)?;
            let mut row = Row {
                size,
                exporter: String::new(),
                name: None,
                importers: Vec::new(),
            };
            if number % 2 == 1 {
                let name = format!("buffer number {number}");
                let mut bytes = Name::of(0);
                bytes.bytes[..name.len()].copy_from_slice(name.as_bytes());
                set_name(&buffer, SET_NAME_B, &mut bytes)?;
                row.name = Some(name);
            }
            for (card, bit) in importers.iter().zip([2, 4]) {
                if number & bit == 0 || exporter.name() == "vgem" {
                    continue;
                }
                match card.import(&buffer) {
                    Ok(_) => row.importers.push(String::new()),
                    // Before 6.13 or so, bochs imports nothing.
                    Err(Errno::INVAL) if bit == 4 => {}
                    Err(error) => return Err(error).context("importing a buffer"),
                }
            }
            let inode = rustix::fs::fstat(buffer.as_fd())?.st_ino;
            buffers.push((buffer, row, inode));
        }
        Ok(Self {
            buffers,
            _importers: importers,
        })
    }

    /// They are listed as they were made.
    fn check(&self, checks: &mut Checks, listed: &[Buffer]) {
        for (_, made, inode) in &self.buffers {
            let found = listed.iter().find(|buffer| buffer.inode == *inode);
            let found = found.map(|it| (it.size, it.name.clone(), Row::of(it).importers.len()));
            let want = Some((made.size, made.name.clone(), made.importers.len()));
            checks.equal(
                "a buffer that stayed is listed as it was made",
                &found,
                &want,
            );
        }
    }
}
