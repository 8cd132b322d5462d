//! One BPF instruction and the names of its parts.
//!
//! The encoding follows `include/uapi/linux/bpf.h` (`struct bpf_insn`) and
//! `Documentation/bpf/standardization/instruction-set.rst`.

/// A register of the BPF machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reg {
    /// Return value of calls and of the program.
    R0 = 0,
    /// First argument.
    R1,
    /// Second argument.
    R2,
    /// Third argument.
    R3,
    /// Fourth argument.
    R4,
    /// Fifth argument.
    R5,
    /// Kept across calls.
    R6,
    /// Kept across calls.
    R7,
    /// Kept across calls.
    R8,
    /// Kept across calls.
    R9,
    /// The frame pointer; the stack lies below it.
    Fp,
}

/// The width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    B1,
    /// Two bytes.
    B2,
    /// Four bytes.
    B4,
    /// Eight bytes.
    B8,
}

impl Width {
    /// The width of `bytes` bytes, where BPF has one.
    #[must_use]
    pub fn of(bytes: u64) -> Option<Self> {
        match bytes {
            1 => Some(Self::B1),
            2 => Some(Self::B2),
            4 => Some(Self::B4),
            8 => Some(Self::B8),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::B4 => 0x00,
            Self::B2 => 0x08,
            Self::B1 => 0x10,
            Self::B8 => 0x18,
        }
    }
}

/// A 64-bit arithmetic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    /// `dst += src`
    Add,
    /// `dst &= src`
    And,
    /// `dst <<= src`
    Shl,
    /// `dst >>= src`, filling with zeros
    Shr,
    /// `dst = src`
    Mov,
}

impl Alu {
    fn code(self) -> u8 {
        match self {
            Self::Add => 0x00,
            Self::And => 0x50,
            Self::Shl => 0x60,
            Self::Shr => 0x70,
            Self::Mov => 0xb0,
        }
    }
}

/// The condition of a jump (64-bit, unsigned).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// A bit in common.
    Set,
}

impl Cond {
    fn code(self) -> u8 {
        match self {
            Self::Eq => 0x10,
            Self::Set => 0x40,
            Self::Ne => 0x50,
        }
    }
}

const CLASS_LD_IMM64: u8 = 0x18;
const CLASS_LDX_MEM: u8 = 0x61;
const CLASS_ST_MEM: u8 = 0x62;
const CLASS_STX_MEM: u8 = 0x63;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const SOURCE_REGISTER: u8 = 0x08;
const OP_CALL: u8 = 0x85;
const OP_EXIT: u8 = 0x95;
const CALL_KFUNC: u8 = 2;

/// One instruction slot of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    op: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Insn {
    const fn new(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        Self {
            op,
            dst,
            src,
            off,
            imm,
        }
    }

    pub(super) fn alu_reg(op: Alu, dst: Reg, src: Reg) -> Self {
        let code = CLASS_ALU64 | SOURCE_REGISTER | op.code();
        Self::new(code, dst as u8, src as u8, 0, 0)
    }

    pub(super) fn alu_imm(op: Alu, dst: Reg, imm: i32) -> Self {
        Self::new(CLASS_ALU64 | op.code(), dst as u8, 0, 0, imm)
    }

    /// The two slots of a 64-bit immediate load.
    pub(super) fn imm64(dst: Reg, value: u64) -> [Self; 2] {
        let (low, high) = (value as u32, (value >> 32) as u32);
        [
            Self::new(CLASS_LD_IMM64, dst as u8, 0, 0, low.cast_signed()),
            Self::new(0, 0, 0, 0, high.cast_signed()),
        ]
    }

    pub(super) fn load(width: Width, dst: Reg, src: Reg, off: i16) -> Self {
        let code = CLASS_LDX_MEM | width.code();
        Self::new(code, dst as u8, src as u8, off, 0)
    }

    pub(super) fn store(width: Width, dst: Reg, off: i16, src: Reg) -> Self {
        let code = CLASS_STX_MEM | width.code();
        Self::new(code, dst as u8, src as u8, off, 0)
    }

    pub(super) fn store_imm(width: Width, dst: Reg, off: i16, imm: i32) -> Self {
        Self::new(CLASS_ST_MEM | width.code(), dst as u8, 0, off, imm)
    }

    pub(super) fn jump() -> Self {
        Self::new(CLASS_JMP, 0, 0, 0, 0)
    }

    pub(super) fn jump_if(cond: Cond, dst: Reg, imm: i32) -> Self {
        Self::new(CLASS_JMP | cond.code(), dst as u8, 0, 0, imm)
    }

    pub(super) fn jump_if_same(dst: Reg, src: Reg) -> Self {
        let code = CLASS_JMP | SOURCE_REGISTER | Cond::Eq.code();
        Self::new(code, dst as u8, src as u8, 0, 0)
    }

    pub(super) fn call_helper(number: i32) -> Self {
        Self::new(OP_CALL, 0, 0, 0, number)
    }

    pub(super) fn call_kfunc(btf_id: i32) -> Self {
        Self::new(OP_CALL, 0, CALL_KFUNC, 0, btf_id)
    }

    pub(super) fn exit() -> Self {
        Self::new(OP_EXIT, 0, 0, 0, 0)
    }

    pub(super) fn with_offset(mut self, off: i16) -> Self {
        self.off = off;
        self
    }

    /// The slot as the kernel reads it on this machine.
    #[must_use]
    pub fn encode(self) -> [u8; 8] {
        let registers = if cfg!(target_endian = "little") {
            self.dst | self.src << 4
        } else {
            self.dst << 4 | self.src
        };
        let [o0, o1] = self.off.to_ne_bytes();
        let [i0, i1, i2, i3] = self.imm.to_ne_bytes();
        [self.op, registers, o0, o1, i0, i1, i2, i3]
    }
}
