//! Finds kernel modules and what they depend on, without depmod.
//!
//! A module names its dependencies in its `.modinfo` section, as
//! `depends=a,b` between zero bytes (linux/moduleparam.h, scripts/mod).

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: HashSet<String>,
    /// Where decompressed modules are kept between runs.
    cache: PathBuf,
}

/// One module, ready to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The decompressed file.
    pub file: PathBuf,
    /// What must be loaded before it, in order.
    pub before: Vec<String>,
}

impl Modules {
    /// Looks through `folder`, which holds `kernel/` and `modules.builtin`.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn index(folder: &Path, cache: PathBuf) -> Result<Self> {
        let mut files = BTreeMap::new();
        walk(&folder.join("kernel"), &mut files)?;
        let built_in = fs::read_to_string(folder.join("modules.builtin"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        fs::create_dir_all(&cache)?;
        Ok(Self {
            files,
            built_in,
            cache,
        })
    }

    /// Whether there is a module called `name`; else it is built into the kernel,
    /// or there is no such thing.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(&name.replace('-', "_"))
    }

    /// The modules called `names` and all that they depend on. What is built
    /// into the kernel is left out.
    ///
    /// # Errors
    /// When the kernel has no such module, or one can't be decompressed.
    pub fn closure<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        for name in names {
            self.visit(&name.replace('-', "_"), &mut found)?;
        }
        Ok(found)
    }

    fn visit(&self, name: &str, found: &mut Vec<Module>) -> Result<()> {
        if self.built_in.contains(name) || found.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let packed = self
            .files
            .get(name)
            .with_context(|| format!("the kernel has no module {name}"))?;
        let file = self.decompressed(name, packed)?;
        let mut before: Vec<String> = Vec::new();
        for dependency in depends(&fs::read(&file)?) {
            self.visit(&dependency, found)?;
            let below = found.iter().find(|module| module.name == dependency);
            for name in below
                .into_iter()
                .flat_map(|module| module.before.iter().chain([&module.name]))
            {
                if !before.contains(name) {
                    before.push(name.clone());
                }
            }
        }
        found.push(Module {
            name: name.to_owned(),
            file,
            before,
        });
        Ok(())
    }

    fn decompressed(&self, name: &str, packed: &Path) -> Result<PathBuf> {
        match packed.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => return Ok(packed.to_owned()),
            Some("xz") => {}
            _ => bail!(
                "{}: only plain and xz modules can be read",
                packed.display()
            ),
        }
        let file = self.cache.join(format!("{name}.ko"));
        if !file.exists() {
            let mut plain = Vec::new();
            lzma_rs::xz_decompress(&mut Cursor::new(fs::read(packed)?), &mut plain)
                .with_context(|| format!("decompressing {}", packed.display()))?;
            let mut whole = tempfile::NamedTempFile::new_in(&self.cache)?;
            std::io::Write::write_all(&mut whole, &plain)?;
            whole.persist(&file)?;
        }
        Ok(file)
    }
}

fn walk(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `drivers/gpu/drm/virtio-gpu.ko.xz` is the module `virtio_gpu`.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (name, _) = name.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn depends(module: &[u8]) -> Vec<String> {
    module
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"depends="))
        .map(|list| {
            String::from_utf8_lossy(list)
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| name.replace('-', "_"))
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Modules, depends};

    #[test]
    fn dependencies_are_read_between_zero_bytes() {
        let module = b"ELF\0license=GPL\0depends=drm-kms,drm\0vermagic=7\0";
        assert_eq!(depends(module), ["drm_kms", "drm"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"").is_empty());
    }

    #[test]
    fn a_closure_lists_what_must_come_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let kernel = folder.path().join("kernel/drivers");
        fs::create_dir_all(&kernel).expect("a folder");
        for (name, text) in [
            ("top.ko", "\0depends=mid-dle,base,inside\0"),
            ("mid-dle.ko", "\0depends=base\0"),
            ("base.ko", "\0depends=\0"),
        ] {
            fs::write(kernel.join(name), text).expect("a module");
        }
        fs::write(folder.path().join("modules.builtin"), "kernel/inside.ko\n").expect("a list");
        let modules = Modules::index(folder.path(), folder.path().join("cache")).expect("an index");
        assert!(modules.has("mid_dle") && !modules.has("inside"));
        let closure = modules.closure(["top"]).expect("a closure");
        let top = closure.last().expect("a module");
        assert_eq!(top.before, ["base", "mid_dle"]);
        assert!(modules.closure(["inside"]).expect("nothing").is_empty());
        assert!(modules.closure(["absent"]).is_err());
    }
}
