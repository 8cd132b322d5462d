//! The machine as its QEMU sees it: page tables read from outside, with no help
//! of the kernel inside.
//!
//! QEMU's machine protocol (docs/interop/qmp-spec.rst) and two commands of its
//! human monitor, `info registers` and `xp`. Intel SDM volume 3, "Paging".

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Entry, Proof};

/// How often processors are looked at until one is in the wanted address space,
/// and the time in between.
const LOOKS: usize = 200;
const PAUSE: Duration = Duration::from_millis(3);

/// The bits of an entry or of CR3 that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
/// In an entry above the last level: no table follows.
const LARGE: u64 = 1 << 7;
/// In CR4: tables have five levels.
const LA57: u64 = 1 << 12;

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
    /// Words of memory that were read for one answer.
    words: HashMap<u64, u64>,
}

/// An address space: where its top table is, and of how many levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Space {
    top: u64,
    levels: u8,
}

impl Monitor {
    pub(super) fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).context("QEMU's monitor")?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut monitor = Self {
            stream: BufReader::new(stream),
            words: HashMap::new(),
        };
        monitor.line().context("QEMU's greeting")?;
        monitor.run("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// The entries that map `addresses` in the address space that holds `proof`.
    ///
    /// The machine is not stopped meanwhile: that would stop the devices that
    /// programs beside it serve. Who asks leaves its mappings alone.
    pub(super) fn entries(&mut self, proof: &Proof, addresses: &[u64]) -> Result<Vec<Entry>> {
        for _ in 0..LOOKS {
            self.words.clear();
            if let Some(entries) = self.entries_now(proof, addresses)? {
                return Ok(entries);
            }
            std::thread::sleep(PAUSE);
        }
        bail!("no processor was in the wanted address space in {LOOKS} tries")
    }

    /// The same if some processor is there now.
    fn entries_now(&mut self, proof: &Proof, addresses: &[u64]) -> Result<Option<Vec<Entry>>> {
        let registers = self.human("info registers -a")?;
        for space in spaces(&registers) {
            if self.holds(space, proof)? {
                let walked = addresses.iter().map(|&address| self.walk(space, address));
                return walked.collect::<Result<_>>().map(Some);
            }
        }
        Ok(None)
    }

    fn holds(&mut self, space: Space, proof: &Proof) -> Result<bool> {
        let leaf = self.walk(space, proof.address)?;
        if leaf.entry & PRESENT == 0 {
            return Ok(false);
        }
        let page = (4096_u64 << (9 * (u32::from(leaf.level) - 1))) - 1;
        let physical = (leaf.entry & ADDRESS & !page) | (proof.address & page);
        for (word, at) in proof.words.iter().zip((physical..).step_by(8)) {
            if self.word(at)? != *word {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry at which the processor's own walk for `address` would end.
    fn walk(&mut self, space: Space, address: u64) -> Result<Entry> {
        let mut table = space.top;
        for level in (1..=space.levels).rev() {
            let index = address >> (12 + 9 * (u32::from(level) - 1)) & 511;
            let entry = self.word(table + 8 * index)?;
            let large = matches!(level, 2 | 3) && entry & LARGE != 0;
            if level == 1 || large || entry & PRESENT == 0 {
                return Ok(Entry { level, entry });
            }
            table = entry & ADDRESS;
        }
        bail!("a table of no level")
    }

    /// The word at a physical address of the machine; nothing is there for some.
    fn word(&mut self, address: u64) -> Result<u64> {
        if let Some(word) = self.words.get(&address) {
            return Ok(*word);
        }
        let text = self.human(&format!("xp /1gx {address:#x}"))?;
        let word = text
            .trim()
            .rsplit_once("0x")
            .and_then(|(_, digits)| u64::from_str_radix(digits, 16).ok())
            .unwrap_or(0);
        self.words.insert(address, word);
        Ok(word)
    }

    fn human(&mut self, line: &str) -> Result<String> {
        let arguments = json!({ "command-line": line });
        let answer = self.run("human-monitor-command", &arguments)?;
        let text = answer.as_str().context("the human monitor's answer")?;
        Ok(text.to_owned())
    }

    /// Runs a command and returns what it returns.
    pub(super) fn run(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{line}")?;
        loop {
            let answer = self.line().with_context(|| format!("QEMU's {command}"))?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("QEMU hung up");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// The address spaces that processors are in, from their registers.
fn spaces(registers: &str) -> Vec<Space> {
    let values = |name: &'static str| {
        registers.split(name).skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_hexdigit());
            u64::from_str_radix(&rest[..end.unwrap_or(rest.len())], 16).ok()
        })
    };
    let mut found: Vec<Space> = Vec::new();
    for (cr3, cr4) in values("CR3=").zip(values("CR4=")) {
        let space = Space {
            top: cr3 & ADDRESS,
            levels: if cr4 & LA57 == 0 { 4 } else { 5 },
        };
        if !found.contains(&space) {
            found.push(space);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Space, spaces};

    #[test]
    fn address_spaces_are_read_from_the_registers() {
        let text = "\r\nCPU#0\r\nRAX=00 CR0=80050033 CR2=00007f00 CR3=0000000003c2e000 \
                    CR4=00751ef0\r\nCPU#1\r\nCR3=0000000104c2e003 CR4=000006f0\r\n";
        let five = Space {
            top: 0x3c2_e000,
            levels: 5,
        };
        let four = Space {
            top: 0x1_04c2_e000,
            levels: 4,
        };
        assert_eq!(spaces(text), [five, four]);
        assert_eq!(spaces(""), []);
    }
}
