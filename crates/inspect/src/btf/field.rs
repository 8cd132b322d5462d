//! From the name of a member to its offset and width.

use super::bytes::u32_at;
use super::kind::{Kind, Type};
use super::{Btf, TypeId};
use crate::error::Error;

/// Modifiers, typedefs or array dimensions that may lie on top of each other.
const MAX_CHAIN: usize = 32;
/// Anonymous structures inside each other.
const MAX_NESTING: usize = 16;
/// Members looked at for one name; the largest kernel structures stay far below.
const MAX_STEPS: usize = 20_000;
/// All of Linux that has these programs is 64-bit here.
const POINTER_SIZE: u64 = 8;

/// Where a member lies in its structure, as the kernel's BTF states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure.
    pub offset: u64,
    /// Bytes that the member takes.
    pub size: u64,
    /// What it holds.
    pub target: Target,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An integer or enumeration.
    Value,
    /// A pointer to the type of this id (0: `void`).
    Pointer(TypeId),
    /// A structure, union or array inside the structure.
    Inside(TypeId),
}

struct Member {
    name: u32,
    ty: TypeId,
    bit_offset: u64,
    bit_width: u32,
}

impl Btf {
    /// The member at `path` of `struct name`; dots step into embedded structures.
    /// Members of anonymous structures and unions are found as in C.
    ///
    /// # Errors
    /// [`Error::BtfMissing`] if there is no such structure or member,
    /// [`Error::BtfUnusable`] for bit fields, odd widths, damaged types, and
    /// structures of one name that disagree.
    pub fn field(&self, name: &str, path: &str) -> Result<Field, Error> {
        let mut answer: Option<Field> = None;
        let mut first_error = None;
        for id in self.named(Kind::Struct, name) {
            match self.field_of(id, path) {
                Ok(found) if answer.is_none_or(|known| same_place(known, found)) => {
                    answer = Some(found);
                }
                Ok(_) => return Err(unusable(name, path, "structures of this name disagree")),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match (answer, first_error) {
            (Some(field), None) => Ok(field),
            // A namesake without the member: which one a pointer means is not known.
            (Some(_), Some(_)) => Err(unusable(name, path, "structures of this name disagree")),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::BtfMissing {
                what: format!("struct {name}"),
            }),
        }
    }

    /// The member at `path` of the structure with this id.
    ///
    /// # Errors
    /// As for [`Btf::field`].
    pub fn field_of(&self, id: TypeId, path: &str) -> Result<Field, Error> {
        let label = self.label(id);
        let mut place = Field {
            offset: 0,
            size: self.size_of(id).ok_or(unusable(&label, path, "no size"))?,
            target: Target::Inside(id),
        };
        for part in path.split('.') {
            let Target::Inside(inside) = place.target else {
                return Err(unusable(&label, path, "a step into no structure"));
            };
            let inner = self.member(inside, part, &label, path)?;
            let end = inner.offset.checked_add(inner.size);
            if end.is_none_or(|end| end > place.size) {
                return Err(unusable(&label, path, "a member outside its structure"));
            }
            // Both stay below 2^33: sizes are 32 bits and nesting adds inside them.
            place = Field {
                offset: place.offset + inner.offset,
                ..inner
            };
        }
        Ok(place)
    }

    /// Bytes of the structure `name`.
    ///
    /// # Errors
    /// [`Error::BtfMissing`] or [`Error::BtfUnusable`], as for [`Btf::field`].
    pub fn struct_size(&self, name: &str) -> Result<u64, Error> {
        let mut sizes = self
            .named(Kind::Struct, name)
            .filter_map(|id| self.size_of(id));
        let first = sizes.next().ok_or_else(|| Error::BtfMissing {
            what: format!("struct {name}"),
        })?;
        if sizes.any(|size| size != first) {
            return Err(unusable(name, "size", "structures of this name disagree"));
        }
        Ok(first)
    }

    fn label(&self, id: TypeId) -> String {
        let name = self.get(id).map(|ty| self.name(ty.name));
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    fn member(&self, id: TypeId, name: &str, label: &str, path: &str) -> Result<Field, Error> {
        let mut steps = MAX_STEPS;
        let found = self.search(id, name, MAX_NESTING, &mut steps);
        let found = found.map_err(|why| unusable(label, path, why))?;
        let (bit_offset, bit_width, ty) = found.ok_or_else(|| Error::BtfMissing {
            what: format!("member {path} in struct {label}"),
        })?;
        if bit_width != 0 || bit_offset % 8 != 0 {
            return Err(unusable(label, path, "a bit field"));
        }
        let (size, target) = self
            .target(ty)
            .ok_or(unusable(label, path, "a type without size"))?;
        Ok(Field {
            offset: bit_offset / 8,
            size,
            target,
        })
    }

    /// Depth-first through anonymous members; bits from the start of `id`.
    fn search(
        &self,
        id: TypeId,
        name: &str,
        depth: usize,
        steps: &mut usize,
    ) -> Result<Option<(u64, u32, TypeId)>, &'static str> {
        let Some(ty) = self.get(id) else {
            return Err("a dangling type");
        };
        if !matches!(ty.kind, Kind::Struct | Kind::Union) {
            return Ok(None);
        }
        for index in 0..ty.count {
            *steps = steps.checked_sub(1).ok_or("too many members")?;
            let member = self.member_at(&ty, index).ok_or("a cut member")?;
            let text = self.name(member.name);
            if text == name.as_bytes() {
                return Ok(Some((member.bit_offset, member.bit_width, member.ty)));
            }
            if text.is_empty() {
                let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
                let inner = self.resolve(member.ty).ok_or("a dangling type")?;
                if let Some((offset, width, ty)) = self.search(inner, name, depth, steps)? {
                    return Ok(Some((member.bit_offset + offset, width, ty)));
                }
            }
        }
        Ok(None)
    }

    fn member_at(&self, ty: &Type, index: usize) -> Option<Member> {
        let at = ty.body + index * 12;
        let offset = u32_at(&self.data, at + 8)?;
        let (bit_width, bit_offset) = if ty.bit_widths {
            (offset >> 24, offset & 0x00ff_ffff)
        } else {
            (0, offset)
        };
        Some(Member {
            name: u32_at(&self.data, at)?,
            ty: u32_at(&self.data, at + 4)?,
            bit_offset: u64::from(bit_offset),
            bit_width,
        })
    }

    /// Follows typedefs, const and the like.
    fn resolve(&self, mut id: TypeId) -> Option<TypeId> {
        for _ in 0..MAX_CHAIN {
            match self.get(id)? {
                ty if matches!(ty.kind, Kind::Typedef | Kind::Modifier) => id = ty.size_or_type,
                _ => return Some(id),
            }
        }
        None
    }

    fn target(&self, id: TypeId) -> Option<(u64, Target)> {
        let id = self.resolve(id)?;
        let ty = self.get(id)?;
        let size = self.size_of(id)?;
        let target = match ty.kind {
            Kind::Ptr => Target::Pointer(self.resolve(ty.size_or_type).unwrap_or(0)),
            Kind::Struct | Kind::Union | Kind::Array => Target::Inside(id),
            Kind::Int if !self.is_whole(&ty) => return None,
            Kind::Int | Kind::Enum => Target::Value,
            _ => return None,
        };
        Some((size, target))
    }

    /// Whether an integer fills its bytes: old bit fields are integers that don't.
    fn is_whole(&self, ty: &Type) -> bool {
        let encoding = u32_at(&self.data, ty.body).unwrap_or(u32::MAX);
        let (bits, offset) = (encoding & 0xff, (encoding >> 16) & 0xff);
        offset == 0 && u64::from(bits) == u64::from(ty.size_or_type) * 8
    }

    fn size_of(&self, id: TypeId) -> Option<u64> {
        let mut id = self.resolve(id)?;
        let mut times = 1u64;
        for _ in 0..MAX_CHAIN {
            let ty = self.get(id)?;
            let size = match ty.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Float => {
                    u64::from(ty.size_or_type)
                }
                Kind::Ptr => POINTER_SIZE,
                Kind::Array => {
                    let element = u32_at(&self.data, ty.body)?;
                    let count = u32_at(&self.data, ty.body + 8)?;
                    times = times.checked_mul(u64::from(count))?;
                    id = self.resolve(element)?;
                    continue;
                }
                _ => return None,
            };
            return size.checked_mul(times);
        }
        None
    }
}

/// Duplicates of one structure have type ids of their own, so ids are not compared.
fn same_place(a: Field, b: Field) -> bool {
    let kind = |target| match target {
        Target::Value => 0,
        Target::Pointer(_) => 1,
        Target::Inside(_) => 2,
    };
    (a.offset, a.size, kind(a.target)) == (b.offset, b.size, kind(b.target))
}

fn unusable(name: &str, path: &str, why: &'static str) -> Error {
    Error::BtfUnusable {
        what: format!("{name}.{path}"),
        why,
    }
}
