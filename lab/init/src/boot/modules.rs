//! Loads kernel modules with what they depend on.
//!
//! The host packs the modules as plain `/modules/NAME.ko` and writes
//! `/modules/order`: one line per module, its name followed by the modules
//! that must be there first, so that nothing has to be worked out here.

use std::ffi::CString;
use std::fs::{File, read_to_string};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

/// The first argument of this program when it is to load a module from the
/// shell; the second is the module's line.
pub const LOAD: &str = "--load";

const FOLDER: &str = "/modules";

/// Loads the module that `line` names (`"vivid n_devs=2"`), and before it
/// everything that it depends on. One that is loaded already stays as it is,
/// and one that is not in the list is built into the kernel: the host has looked.
///
/// # Errors
/// When the module was not packed, or the kernel refuses it.
pub fn load(line: &str) -> Result<()> {
    let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
    let order = read_to_string(format!("{FOLDER}/order")).context("the list of modules")?;
    let name = name.replace('-', "_");
    let Some(dependencies) = dependencies(&order, &name) else {
        return Ok(());
    };
    for dependency in dependencies {
        insert(dependency, "")?;
    }
    insert(&name, parameters)
}

/// Takes the module `name` out, if nobody uses it.
///
/// # Errors
/// What the kernel says: EAGAIN while it is in use.
pub fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    rustix::system::delete_module(&name, libc::O_NONBLOCK)
}

fn dependencies<'a>(order: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    order
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then_some(words))
}

fn insert(name: &str, parameters: &str) -> Result<()> {
    let path = format!("{FOLDER}/{name}.ko");
    let file = File::open(&path).with_context(|| format!("the module {name}"))?;
    let parameters = CString::new(parameters)?;
    match rustix::system::finit_module(&file, &parameters, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("loading {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn dependencies_come_in_the_order_that_the_host_worked_out() {
        let order = "a\nc a b\nb a\n";
        let of = |name| dependencies(order, name).map(Iterator::collect::<Vec<_>>);
        assert_eq!(of("c"), Some(vec!["a", "b"]));
        assert_eq!(of("a"), Some(vec![]));
        assert_eq!(of("absent"), None);
    }
}
