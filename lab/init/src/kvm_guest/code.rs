//! The guest's program, assembled by hand (Intel SDM volume 2).

use anyhow::Result;

use super::{COUNTERS, FIRST, ROUNDS, STOP, STRIDE};

/// Increments every counter of `len` bytes, says what the first one is, then
/// increments the number of rounds, until the word to stop is not 0:
///
/// ```text
/// round: mov edi, COUNTERS
/// next:  add dword [edi], 1
///        add edi, STRIDE
///        cmp edi, COUNTERS + len
///        jb  next
///        mov eax, [COUNTERS]
///        mov [talk + FIRST], eax
///        inc dword [talk + ROUNDS]
///        cmp dword [talk + STOP], 0
///        je  round
///        hlt
/// ```
pub(super) fn count(talk: u64, len: u64) -> Result<Vec<u8>> {
    let word = |value: u64| u32::try_from(value).map(u32::to_le_bytes);
    let mut code = Vec::new();
    code.push(0xbf);
    code.extend(word(COUNTERS)?);
    let next = code.len();
    code.extend([0x83, 0x07, 0x01]);
    code.extend([0x81, 0xc7]);
    code.extend(word(STRIDE)?);
    code.extend([0x81, 0xff]);
    code.extend(word(COUNTERS + len)?);
    code.extend([0x72, back(code.len(), next)?]);
    code.push(0xa1);
    code.extend(word(COUNTERS)?);
    code.push(0xa3);
    code.extend(word(talk + FIRST)?);
    code.extend([0xff, 0x05]);
    code.extend(word(talk + ROUNDS)?);
    code.extend([0x83, 0x3d]);
    code.extend(word(talk + STOP)?);
    code.push(0);
    code.extend([0x74, back(code.len(), 0)?]);
    code.push(0xf4);
    Ok(code)
}

/// The distance of a short jump at `from` to `to`, from its end.
fn back(from: usize, to: usize) -> Result<u8> {
    let distance = to as i64 - (from as i64 + 2);
    Ok(i8::try_from(distance)?.cast_unsigned())
}
