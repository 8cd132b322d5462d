//! The arguments, one by one.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::Machine;
use crate::serve::settings::Size;

/// What kind of VM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vm {
    pub(super) machine: Machine,
    pub(super) memory: Size,
}

/// Bytes of virtio-gpu's configuration space.
const CONFIG_SIZE: usize = landbridge_protocol_gpu::CONFIG_SPACE_SIZE;

/// Memory of a VM that can boot anything, and of the largest that anybody has.
const MEMORY: std::ops::RangeInclusive<Size> = Size(64 << 20)..=Size(16 << 40);

impl Vm {
    pub(super) fn check(self) -> anyhow::Result<()> {
        ensure!(
            MEMORY.contains(&self.memory) && self.memory.0.is_multiple_of(1 << 20),
            "a VM with {} of memory: it must be whole MiB, {} to {}",
            self.memory,
            MEMORY.start(),
            MEMORY.end()
        );
        Ok(())
    }

    /// The arguments for one GPU on each socket.
    pub(super) fn arguments(self, sockets: &[PathBuf]) -> anyhow::Result<Vec<String>> {
        let memory = format!("{}M", self.memory.0 >> 20);
        let machine = match self.machine {
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
            Machine::Microvm => "microvm,pcie=on",
        };
        let mut arguments = Vec::new();
        let mut add = |option: &str, value: String| {
            arguments.push(option.to_owned());
            arguments.push(value);
        };
        add(
            "-machine",
            format!("{machine},memory-backend=landbridge-ram"),
        );
        add("-m", memory.clone());
        // Shared, because our process reads the guest's memory in place.
        add(
            "-object",
            format!("memory-backend-memfd,id=landbridge-ram,size={memory},share=on"),
        );
        if self.machine != Machine::Microvm {
            // So that the guest's console is on our device.
            add("-vga", "none".to_owned());
        }
        for (number, socket) in sockets.iter().enumerate() {
            let path = escaped(socket)?;
            add(
                "-chardev",
                format!("socket,id=landbridge-char{number},path={path}"),
            );
            let bus = match self.machine {
                // The root bus of q35 takes no device at run time, which a
                // recovery needs.
                Machine::Q35 => {
                    let port = format!("landbridge-port{number}");
                    let chassis = 200 + number;
                    add(
                        "-device",
                        format!("pcie-root-port,id={port},chassis={chassis}"),
                    );
                    format!(",bus={port}")
                }
                Machine::Pc | Machine::Microvm => String::new(),
            };
            add(
                "-device",
                format!(
                    "vhost-user-test-device-pci,id=landbridge-gpu{number},\
                     chardev=landbridge-char{number},virtio-id=16,num_vqs=2,vq_size=256,\
                     config_size={CONFIG_SIZE}{bus}"
                ),
            );
        }
        Ok(arguments)
    }
}

/// A path as a value in a list of QEMU's: a comma is doubled.
fn escaped(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// The arguments as one line that a shell takes apart again.
pub fn shell_quoted(arguments: &[String]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|it| quote(it)).collect();
    quoted.join(" ")
}

fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn arguments(machine: Machine, sockets: &[&str]) -> Vec<String> {
        let vm = Vm {
            machine,
            memory: Size(4 << 30),
        };
        let sockets: Vec<PathBuf> = sockets.iter().map(PathBuf::from).collect();
        vm.arguments(&sockets).unwrap()
    }

    #[test]
    fn each_gpu_has_a_chardev_and_a_device() {
        let all = arguments(Machine::Q35, &["/a", "/b"]).join(" ");
        for part in [
            "-machine q35,memory-backend=landbridge-ram -m 4096M ",
            "id=landbridge-ram,size=4096M,share=on",
            "socket,id=landbridge-char0,path=/a",
            "socket,id=landbridge-char1,path=/b",
            "virtio-id=16,num_vqs=2,vq_size=256,config_size=24,bus=landbridge-port1",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!arguments(Machine::Pc, &["/a"]).join(" ").contains("bus="));
        assert!(
            arguments(Machine::Microvm, &["/a"])
                .join(" ")
                .contains("microvm,pcie=on")
        );
    }

    #[test]
    fn a_comma_in_a_path_stays_in_the_path() {
        let all = arguments(Machine::Pc, &["/run/a,b"]);
        assert!(all.iter().any(|it| it.ends_with("path=/run/a,,b")));
    }

    #[test]
    fn a_shell_gives_the_arguments_back() {
        let odd = [
            "plain,a=b",
            "",
            "two words",
            "it's",
            "$HOME `x` \"y\" \\",
            "*",
            "~",
            "ü",
        ];
        let odd = odd.map(str::to_owned);
        let script = format!("printf '%s\\n' {}", shell_quoted(&odd));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().collect::<Vec<_>>(), odd);
    }

    #[test]
    fn memory_that_no_vm_has_is_refused() {
        for memory in [0, 1 << 20, (1 << 30) + 1, 1 << 50] {
            let vm = Vm {
                machine: Machine::Pc,
                memory: Size(memory),
            };
            assert!(vm.check().is_err(), "{memory}");
        }
    }
}
