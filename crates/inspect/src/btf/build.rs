//! A small writer of BTF, so that tests can state the types they mean.

/// Collects types; ids count from 1.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// One member: name, type id, offset in bits (with a width in the top byte for bit fields).
pub(crate) type MemberSpec<'a> = (&'a str, u32, u32);

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            count: 0,
        }
    }

    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    pub(crate) fn raw(&mut self, name: &str, info: u32, size: u32, body: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, info, size].iter().chain(body) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str, bytes: u32) -> u32 {
        self.raw(name, 1 << 24, bytes, &[bytes * 8])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.raw("", 2 << 24, to, &[])
    }

    pub(crate) fn array(&mut self, of: u32, index: u32, count: u32) -> u32 {
        self.raw("", 3 << 24, 0, &[of, index, count])
    }

    pub(crate) fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.raw(name, 8 << 24, to, &[])
    }

    pub(crate) fn function(&mut self, name: &str) -> u32 {
        let proto = self.raw("", 13 << 24, 0, &[]);
        self.raw(name, 12 << 24, proto, &[])
    }

    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[MemberSpec<'_>]) -> u32 {
        self.composite(4 << 24, name, size, members)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[MemberSpec<'_>]) -> u32 {
        self.composite(5 << 24, name, size, members)
    }

    /// With widths beside the offsets, as `kind_flag` marks it.
    pub(crate) fn bit_structure(
        &mut self,
        name: &str,
        size: u32,
        members: &[MemberSpec<'_>],
    ) -> u32 {
        self.composite(1 << 31 | 4 << 24, name, size, members)
    }

    fn composite(&mut self, info: u32, name: &str, size: u32, members: &[MemberSpec<'_>]) -> u32 {
        let mut body = Vec::new();
        for &(name, ty, offset) in members {
            let name = self.string(name);
            body.extend([name, ty, offset]);
        }
        self.raw(name, info | members.len() as u32, size, &body)
    }

    /// The bytes with the classic header of 24.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.finish_with(24, &[])
    }

    /// The bytes with a longer header and, from 32 on, a layout table.
    pub(crate) fn finish_with(self, header: u32, layout: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend(0xeb9fu16.to_ne_bytes());
        data.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let layout_len = layout.len() as u32;
        let words = [
            header,
            0,
            types,
            types + layout_len,
            strings,
            types,
            layout_len,
        ];
        for word in words {
            data.extend(word.to_ne_bytes());
        }
        data.resize(header as usize, 0);
        data.extend(self.types);
        data.extend(layout);
        data.extend(self.strings);
        data
    }
}
