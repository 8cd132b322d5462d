//! Reads a few bytes of kernel memory, to confirm where the direct map lies.

use super::{Kind, Program};
use crate::asm::{Asm, Helper, Reg};
use crate::error::Error;

/// Bytes that one peek reads.
pub(crate) const BYTES: usize = 32;

/// Kernels before 6.1 let helpers write to the stack only.
const STACK: i16 = -(BYTES as i16);

/// Offsets in the context, in bytes.
pub(crate) mod at {
    pub(crate) const ADDRESS: i16 = 0;
    pub(crate) const STATUS: i16 = 8;
    pub(crate) const DATA: i16 = 16;
}

/// Bytes of the context.
pub(crate) const CONTEXT_BYTES: usize = at::DATA as usize + BYTES;

/// Builds the program; it depends on no kernel structure.
pub(crate) fn build() -> Result<Program, Error> {
    let mut asm = Asm::new();
    asm.mov(Reg::R6, Reg::R1);
    for word in (0..BYTES as i16).step_by(8) {
        asm.store_imm(Reg::Fp, STACK + word, 0);
    }
    asm.address(Reg::R1, Reg::Fp, STACK);
    asm.mov_imm(Reg::R2, BYTES as i32);
    asm.load(Reg::R3, Reg::R6, at::ADDRESS);
    asm.call(Helper::ProbeReadKernel);
    asm.store(Reg::R6, at::STATUS, Reg::R0);
    for word in (0..BYTES as i16).step_by(8) {
        asm.load(Reg::R1, Reg::Fp, STACK + word);
        asm.store(Reg::R6, at::DATA + word, Reg::R1);
    }
    asm.mov_imm(Reg::R0, 0);
    asm.exit();
    Ok(Program {
        name: "lb_peek",
        kind: Kind::Syscall,
        code: asm.finish()?,
    })
}
