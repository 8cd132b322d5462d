//! A reader of BTF, the kernel's type information.
//!
//! Format: `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`. One pass
//! finds every type and indexes the names of structures and functions; lookups
//! are then a binary search. The data may come from anywhere: every malformed
//! input is an error, and an offset that the data does not state plainly is
//! refused rather than guessed.

#[cfg(test)]
pub(crate) mod build;
mod bytes;
mod field;
mod header;
mod kind;
#[cfg(test)]
mod tests;

pub use field::{Field, Target};

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Reason, Strength};
use header::Sections;
use kind::{Kind, Type};

/// Where the running kernel publishes its own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// More types than the format allows ids for (`BTF_MAX_TYPE`).
const MAX_TYPES: usize = 0x000f_ffff;

/// The id of a type; 0 is `void`.
pub type TypeId = u32;

/// Parsed and indexed type information.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    strings: Range<usize>,
    layout: Range<usize>,
    /// Where each type starts; entry 0 is `void` and unused.
    starts: Vec<u32>,
    /// Hash of the name and id of every named structure, union and function, sorted.
    names: Vec<(u32, TypeId)>,
}

impl Btf {
    /// Reads the running kernel's types.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the kernel publishes none or it can't be read,
    /// [`Error::BtfMalformed`] as for [`Btf::parse`].
    pub fn of_running_kernel() -> Result<Self, Error> {
        Self::read(Path::new(VMLINUX))
    }

    /// Reads types from a file of raw BTF.
    ///
    /// # Errors
    /// As for [`Btf::of_running_kernel`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let data = std::fs::read(path).map_err(|error| Error::Unavailable {
            strength: Strength::Vma,
            reason: Reason::NoBtf {
                errno: error.to_string(),
            },
        })?;
        Self::parse(data)
    }

    /// Parses raw BTF of this machine's byte order.
    ///
    /// # Errors
    /// [`Error::BtfMalformed`] for anything that does not follow the format.
    pub fn parse(data: Vec<u8>) -> Result<Self, Error> {
        let sections = Sections::parse(&data)?;
        let mut btf = Self {
            data,
            strings: sections.strings,
            layout: sections.layout,
            starts: vec![0],
            names: Vec::new(),
        };
        btf.index(sections.types)?;
        Ok(btf)
    }

    /// The one pass over all types.
    fn index(&mut self, types: Range<usize>) -> Result<(), Error> {
        let mut at = types.start;
        let area = &self.data[..types.end];
        let layout = &self.data[self.layout.clone()];
        while at < types.end {
            let malformed = |what| Error::BtfMalformed { what, offset: at };
            let ty = Type::read(area, at, layout).ok_or(malformed("a cut or unknown type"))?;
            let id = self.starts.len();
            if id > MAX_TYPES {
                return Err(malformed("too many types"));
            }
            self.starts
                .push(u32::try_from(at).map_err(|_| malformed("types too large"))?);
            let name = name_at(&self.data, &self.strings, ty.name);
            let name = name.ok_or(malformed("a name outside the strings"))?;
            if !name.is_empty() && matches!(ty.kind, Kind::Struct | Kind::Union | Kind::Func) {
                self.names.push((hash(name), id as TypeId));
            }
            at = ty.end;
        }
        self.names.sort_unstable();
        Ok(())
    }

    /// How many types there are, `void` included.
    #[must_use]
    pub fn type_count(&self) -> usize {
        self.starts.len()
    }

    fn get(&self, id: TypeId) -> Option<Type> {
        let start = *self.starts.get(id as usize)?;
        if id == 0 {
            return None;
        }
        Type::read(&self.data, start as usize, &self.data[self.layout.clone()])
    }

    fn name(&self, offset: u32) -> &[u8] {
        name_at(&self.data, &self.strings, offset).unwrap_or_default()
    }

    /// Ids of the named types of one kind.
    fn named<'a>(&'a self, kind: Kind, name: &'a str) -> impl Iterator<Item = TypeId> + 'a {
        let wanted = hash(name.as_bytes());
        let first = self.names.partition_point(|&(hash, _)| hash < wanted);
        self.names[first..]
            .iter()
            .take_while(move |&&(hash, _)| hash == wanted)
            .map(|&(_, id)| id)
            .filter(move |&id| {
                self.get(id)
                    .is_some_and(|ty| ty.kind == kind && self.name(ty.name) == name.as_bytes())
            })
    }

    /// The id of the function `name`, by which the kernel attaches to it or calls it.
    ///
    /// # Errors
    /// [`Error::BtfMissing`] if this kernel has none, [`Error::BtfUnusable`] if
    /// two functions bear the name.
    pub fn function(&self, name: &str) -> Result<TypeId, Error> {
        let mut found = self.named(Kind::Func, name);
        let first = found.next().ok_or_else(|| Error::BtfMissing {
            what: format!("function {name}"),
        })?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(Error::BtfUnusable {
                what: name.to_owned(),
                why: "more than one function bears the name",
            }),
        }
    }
}

fn name_at<'a>(data: &'a [u8], strings: &Range<usize>, offset: u32) -> Option<&'a [u8]> {
    let text = data[strings.clone()].get(offset as usize..)?;
    let end = text.iter().position(|&byte| byte == 0)?;
    Some(&text[..end])
}

/// FNV-1a: short names, no need for a seed since a collision costs one comparison.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
