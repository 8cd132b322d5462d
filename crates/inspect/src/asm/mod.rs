//! A BPF assembler of just what the programs of this crate need.
//!
//! Programs are written for the running kernel: member offsets come from its
//! BTF as [`Field`]s, never from a header. The assembler refuses what it can't
//! encode (an offset past 16 bits, a member that is no plain integer, a jump to
//! nowhere) instead of truncating it.

mod insn;

pub use insn::{Alu, Cond, Insn, Reg, Width};

use crate::btf::Field;
use crate::error::Error;

/// A place in a program that jumps can name before it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Collects instructions; [`Asm::finish`] resolves the jumps.
#[derive(Debug, Default)]
pub struct Asm {
    insns: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
    fault: Option<String>,
}

impl Asm {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the first fault; `finish` reports it, so that emitting code needs no `?`.
    fn fault(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// A new label, not placed yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places `label` at the next instruction.
    pub fn place(&mut self, label: Label) {
        match self.labels.get_mut(label.0) {
            Some(slot @ None) => *slot = Some(self.insns.len()),
            _ => self.fault(format!("label {} placed twice or unknown", label.0)),
        }
    }

    /// `dst = dst op src`
    pub fn alu(&mut self, op: Alu, dst: Reg, src: Reg) {
        self.insns.push(Insn::alu_reg(op, dst, src));
    }

    /// `dst = dst op imm` (sign-extended to 64 bits)
    pub fn alu_imm(&mut self, op: Alu, dst: Reg, imm: i32) {
        self.insns.push(Insn::alu_imm(op, dst, imm));
    }

    /// `dst = src`
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.alu(Alu::Mov, dst, src);
    }

    /// `dst = imm`
    pub fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.alu_imm(Alu::Mov, dst, imm);
    }

    /// `dst = value`, all 64 bits
    pub fn mov_imm64(&mut self, dst: Reg, value: u64) {
        self.insns.extend(Insn::imm64(dst, value));
    }

    /// `dst = base + off`, the address of a stack or context slot
    pub fn address(&mut self, dst: Reg, base: Reg, off: i16) {
        self.mov(dst, base);
        self.alu_imm(Alu::Add, dst, i32::from(off));
    }

    /// `dst = *(u64 *)(src + off)` for a slot whose layout is ours
    pub fn load(&mut self, dst: Reg, src: Reg, off: i16) {
        self.insns.push(Insn::load(Width::B8, dst, src, off));
    }

    /// `*(u64 *)(dst + off) = src` for a slot whose layout is ours
    pub fn store(&mut self, dst: Reg, off: i16, src: Reg) {
        self.insns.push(Insn::store(Width::B8, dst, off, src));
    }

    /// `*(u64 *)(dst + off) = imm`
    pub fn store_imm(&mut self, dst: Reg, off: i16, imm: i32) {
        self.insns.push(Insn::store_imm(Width::B8, dst, off, imm));
    }

    /// `*(u8 *)(dst + off) = imm`
    pub fn store_byte(&mut self, dst: Reg, off: i16, imm: u8) {
        let insn = Insn::store_imm(Width::B1, dst, off, i32::from(imm));
        self.insns.push(insn);
    }

    /// `dst = src->field`, at the width that BTF gives the member.
    pub fn load_field(&mut self, dst: Reg, src: Reg, field: &Field) {
        let (Some(width), Ok(off)) = (Width::of(field.size), i16::try_from(field.offset)) else {
            let (offset, size) = (field.offset, field.size);
            return self.fault(format!("cannot load {size} bytes at offset {offset}"));
        };
        self.insns.push(Insn::load(width, dst, src, off));
    }

    /// `dst += offset of field`, making a pointer into the structure.
    pub fn add_offset(&mut self, dst: Reg, field: &Field) {
        match i32::try_from(field.offset) {
            Ok(offset) => self.alu_imm(Alu::Add, dst, offset),
            Err(_) => self.fault(format!("offset {} is past 31 bits", field.offset)),
        }
    }

    /// Goes on at `label`.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.insns.push(Insn::jump());
    }

    /// Goes on at `label` if `reg cond imm`.
    pub fn jump_if(&mut self, cond: Cond, reg: Reg, imm: i32, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.insns.push(Insn::jump_if(cond, reg, imm));
    }

    /// Goes on at `label` if the two registers are equal.
    pub fn jump_if_same(&mut self, a: Reg, b: Reg, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.insns.push(Insn::jump_if_same(a, b));
    }

    /// Calls a helper by its number in `enum bpf_func_id`.
    pub fn call(&mut self, helper: Helper) {
        self.insns.push(Insn::call_helper(helper as i32));
    }

    /// Calls a kernel function by its id in the kernel's BTF.
    pub fn call_kfunc(&mut self, btf_id: u32) {
        match i32::try_from(btf_id) {
            Ok(id) => self.insns.push(Insn::call_kfunc(id)),
            Err(_) => self.fault(format!("BTF id {btf_id} is past 31 bits")),
        }
    }

    /// Ends the program; its value is in R0.
    pub fn exit(&mut self) {
        self.insns.push(Insn::exit());
    }

    /// The finished program, jumps resolved.
    ///
    /// # Errors
    /// [`Error::Assembly`] if anything emitted could not be encoded.
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        if let Some(what) = self.fault {
            return Err(Error::Assembly { what });
        }
        for (at, label) in std::mem::take(&mut self.jumps) {
            let target = self.labels.get(label.0).copied().flatten();
            let distance = target.and_then(|target| jump_distance(at, target));
            let Some(distance) = distance else {
                let what = format!("the jump at {at} has no reachable target");
                return Err(Error::Assembly { what });
            };
            self.insns[at] = self.insns[at].with_offset(distance);
        }
        if self.insns.is_empty() {
            let what = "an empty program".to_owned();
            return Err(Error::Assembly { what });
        }
        Ok(self.insns.into_iter().flat_map(Insn::encode).collect())
    }
}

/// Slots between the instruction after the jump and its target.
fn jump_distance(at: usize, target: usize) -> Option<i16> {
    let at = i64::try_from(at).ok()?;
    let target = i64::try_from(target).ok()?;
    i16::try_from(target - at - 1).ok()
}

/// Helpers of `enum bpf_func_id` that the programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// Copies kernel memory; a fault is an error, not an oops. Refused under lockdown.
    ProbeReadKernel = 113,
    /// Formats into the iterator's output.
    SeqPrintf = 126,
    /// Appends bytes to the iterator's output.
    SeqWrite = 127,
    /// The calling task as a trusted pointer.
    GetCurrentTaskBtf = 158,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Target;

    fn field(offset: u64, size: u64) -> Field {
        Field {
            offset,
            size,
            target: Target::Value,
        }
    }

    #[test]
    fn encodes_like_the_kernel() {
        let mut asm = Asm::new();
        asm.mov_imm(Reg::R0, -1);
        asm.load_field(Reg::R2, Reg::R1, &field(0x10, 4));
        asm.store(Reg::Fp, -8, Reg::R2);
        asm.call_kfunc(0x1234);
        asm.exit();
        let code = asm.finish().unwrap();
        let expected: [[u8; 8]; 5] = [
            [0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0x61, 0x12, 0x10, 0, 0, 0, 0, 0],
            [0x7b, 0x2a, 0xf8, 0xff, 0, 0, 0, 0],
            [0x85, 0x20, 0, 0, 0x34, 0x12, 0, 0],
            [0x95, 0x00, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(code, expected.concat());
    }

    #[test]
    fn encodes_wide_immediates_tests_and_bytes() {
        let imm64 = Insn::imm64(Reg::R3, 0x1122_3344_5566_7788);
        assert_eq!(
            imm64[0].encode(),
            [0x18, 0x03, 0, 0, 0x88, 0x77, 0x66, 0x55]
        );
        assert_eq!(imm64[1].encode(), [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11]);
        let jump = Insn::jump_if(Cond::Set, Reg::R1, 1).with_offset(2);
        assert_eq!(jump.encode(), [0x45, 0x01, 2, 0, 1, 0, 0, 0]);
        let byte = Insn::store_imm(Width::B1, Reg::Fp, -1, 7);
        assert_eq!(byte.encode(), [0x72, 0x0a, 0xff, 0xff, 7, 0, 0, 0]);
    }

    #[test]
    fn jumps_go_both_ways() {
        let mut asm = Asm::new();
        let (back, out) = (asm.label(), asm.label());
        asm.place(back);
        asm.jump_if(Cond::Eq, Reg::R1, 0, out);
        asm.jump(back);
        asm.place(out);
        asm.exit();
        let code = asm.finish().unwrap();
        assert_eq!(code[2..4], 1i16.to_ne_bytes());
        assert_eq!(code[10..12], (-2i16).to_ne_bytes());
    }

    #[test]
    fn refuses_what_it_cannot_encode() {
        let mut nowhere = Asm::new();
        let label = nowhere.label();
        nowhere.jump(label);
        assert!(nowhere.finish().is_err());

        let mut twice = Asm::new();
        let label = twice.label();
        twice.place(label);
        twice.place(label);
        twice.exit();
        assert!(twice.finish().is_err());

        for bad in [field(0x8000, 8), field(0, 3), field(0, 16)] {
            let mut asm = Asm::new();
            asm.load_field(Reg::R1, Reg::R2, &bad);
            asm.exit();
            assert!(asm.finish().is_err(), "{bad:?}");
        }
        assert!(Asm::new().finish().is_err());
    }

    #[test]
    fn a_jump_past_sixteen_bits_is_refused() {
        let mut asm = Asm::new();
        let far = asm.label();
        asm.jump(far);
        for _ in 0..40_000 {
            asm.mov_imm(Reg::R0, 0);
        }
        asm.place(far);
        asm.exit();
        assert!(asm.finish().is_err());
    }
}
