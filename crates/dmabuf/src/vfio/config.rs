//! What a write to a device's configuration space does to its memory
//! (PCI Local Bus 3.0 section 6.2, PCI Express 7.5, PCI Power Management 3.2).

/// Offset of the command register, and its bit that switches memory on.
pub(super) const COMMAND: u64 = 4;
pub(super) const MEMORY: u16 = 2;
/// Offset of the first capability's offset.
const CAPABILITIES: u64 = 0x34;
/// Offset of the status register, and its bit that says that there are any.
const STATUS: u64 = 6;
const HAS_CAPABILITIES: u16 = 1 << 4;

const POWER: u8 = 0x01;
const EXPRESS: u8 = 0x10;
const ADVANCED: u8 = 0x13;

/// PCI Express: device capabilities and device control.
const DEVICE_CAPABILITIES: u64 = 4;
const EXPRESS_CAN_RESET: u32 = 1 << 28;
const DEVICE_CONTROL: u64 = 8;
const EXPRESS_RESET: u16 = 1 << 15;
/// Advanced features: capabilities and control.
const ADVANCED_CAPABILITIES: u64 = 3;
const ADVANCED_CAN_RESET: u8 = 1 << 1;
const ADVANCED_CONTROL: u64 = 4;
const ADVANCED_RESET: u8 = 1;
/// Power management: control and status, whose low bits are the state.
const POWER_CONTROL: u64 = 4;
const POWER_STATE: u8 = 3;

/// What a call does to the device's memory, and so to dma-bufs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing.
    None,
    /// It is taken away.
    Revokes,
    /// It comes back, if it was away.
    Restores,
    /// It is taken away and comes back before the call returns, if it was there
    /// before.
    Blinks,
}

/// Where a device has what changes its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The device control register of PCI Express.
    express: Option<u64>,
    express_resets: bool,
    advanced_control: Option<u64>,
    power_control: Option<u64>,
}

impl Layout {
    /// Reads it from a device's configuration space.
    pub(super) fn read<E>(mut byte: impl FnMut(u64) -> Result<u8, E>) -> Result<Self, E> {
        let mut layout = Self::default();
        let status = u16::from_le_bytes([byte(STATUS)?, byte(STATUS + 1)?]);
        if status & HAS_CAPABILITIES == 0 {
            return Ok(layout);
        }
        let mut at = u64::from(byte(CAPABILITIES)? & !3);
        // Each capability has at least four of the 192 bytes.
        for _ in 0..48 {
            if at < 0x40 {
                break;
            }
            match byte(at)? {
                EXPRESS => {
                    let mut can = [0; 4];
                    for (index, part) in (0u64..).zip(&mut can) {
                        *part = byte(at + DEVICE_CAPABILITIES + index)?;
                    }
                    layout.express = Some(at + DEVICE_CONTROL);
                    layout.express_resets = u32::from_le_bytes(can) & EXPRESS_CAN_RESET != 0;
                }
                ADVANCED if byte(at + ADVANCED_CAPABILITIES)? & ADVANCED_CAN_RESET != 0 => {
                    layout.advanced_control = Some(at + ADVANCED_CONTROL);
                }
                POWER => layout.power_control = Some(at + POWER_CONTROL),
                _ => {}
            }
            at = u64::from(byte(at + 1)? & !3);
        }
        Ok(layout)
    }

    /// Where to write what for a function-level reset, if the device has one.
    pub(super) fn function_reset(&self) -> Option<(u64, u16)> {
        match (self.express, self.advanced_control) {
            (Some(at), _) if self.express_resets => Some((at, EXPRESS_RESET)),
            (_, Some(at)) => Some((at, ADVANCED_RESET.into())),
            _ => None,
        }
    }

    /// What writing `bytes` at `at` does.
    pub(super) fn effect(&self, at: u64, bytes: &[u8]) -> Effect {
        let byte = |register: u64| {
            let index = usize::try_from(register.checked_sub(at)?).ok()?;
            bytes.get(index).copied()
        };
        let resets = self.express.filter(|_| self.express_resets);
        let express = resets.and_then(|at| byte(at + 1));
        let advanced = self.advanced_control.and_then(byte);
        if express.is_some_and(|high| u16::from(high) << 8 & EXPRESS_RESET != 0)
            || advanced.is_some_and(|control| control & ADVANCED_RESET != 0)
        {
            return Effect::Blinks;
        }
        let power = self.power_control.and_then(byte);
        let command = byte(COMMAND);
        match (power.map(|state| state & POWER_STATE), command) {
            // D3hot.
            (Some(3), _) => Effect::Revokes,
            (_, Some(low)) if u16::from(low) & MEMORY == 0 => Effect::Revokes,
            (Some(_), _) | (_, Some(_)) => Effect::Restores,
            _ => Effect::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration space with PCI Express at 0x40, power management at 0x80
    /// and advanced features at 0xa0.
    fn space() -> [u8; 256] {
        let mut space = [0; 256];
        space[6] = 0x10;
        space[0x34] = 0x40;
        space[0x40..0x42].copy_from_slice(&[EXPRESS, 0x80]);
        space[0x44..0x48].copy_from_slice(&EXPRESS_CAN_RESET.to_le_bytes());
        space[0x80..0x82].copy_from_slice(&[POWER, 0xa0]);
        space[0xa0..0xa4].copy_from_slice(&[ADVANCED, 0, 6, 2]);
        space
    }

    fn layout(space: [u8; 256]) -> Layout {
        let read = |at| Ok::<_, ()>(space[usize::try_from(at).unwrap()]);
        Layout::read(read).unwrap()
    }

    #[test]
    fn every_register_that_takes_memory_away_is_known() {
        let layout = layout(space());
        for (at, bytes, want) in [
            (4, &[0][..], Effect::Revokes),
            (4, &[2], Effect::Restores),
            (4, &[0xfd, 0xff], Effect::Revokes),
            (0, &[0; 8], Effect::Revokes),
            (0, &[0, 0, 0, 0, 7, 0], Effect::Restores),
            (5, &[0], Effect::None),
            (0x48, &[0, 0x80], Effect::Blinks),
            (0x49, &[0x80], Effect::Blinks),
            (0x48, &[0xff, 0x7f], Effect::None),
            (0x84, &[3], Effect::Revokes),
            (0x84, &[0], Effect::Restores),
            (0xa4, &[1], Effect::Blinks),
            (0x10, &[0; 4], Effect::None),
        ] {
            assert_eq!(layout.effect(at, bytes), want, "{bytes:x?} at {at:#x}");
        }
    }

    #[test]
    fn only_devices_that_can_reset_a_function_do() {
        assert_eq!(
            layout(space()).function_reset(),
            Some((0x48, EXPRESS_RESET))
        );
        let mut old = space();
        old[0x47] = 0;
        assert_eq!(layout(old).function_reset(), Some((0xa4, 1)));
        assert_eq!(layout(old).effect(0x48, &[0, 0x80]), Effect::None);
        old[0xa3] = 0;
        assert_eq!(layout(old).function_reset(), None);
        old[6] = 0;
        assert_eq!(layout(old), Layout::default());
    }

    #[test]
    fn a_list_of_capabilities_that_never_ends_is_left() {
        let mut space = space();
        space[0xa1] = 0x40;
        assert_eq!(layout(space).power_control, Some(0x84));
    }
}
