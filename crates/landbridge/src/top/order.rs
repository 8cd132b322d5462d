//! Names of the orders.

use landbridge_inspect::view::SortKey;

/// As shown and typed.
pub(super) fn name(key: SortKey) -> &'static str {
    match key {
        SortKey::Size => "size",
        SortKey::Exporter => "exporter",
        SortKey::Name => "name",
        SortKey::Holders => "holders",
        SortKey::Mappings => "mappings",
        SortKey::Newest => "newest",
    }
}

/// The order of that name.
pub(super) fn parse(text: &str) -> Result<SortKey, String> {
    let all = || SortKey::ALL.into_iter();
    all().find(|&key| name(key) == text).ok_or_else(|| {
        let names: Vec<_> = all().map(name).collect();
        format!("orders are {}", names.join(", "))
    })
}

/// The order `steps` further on, round the end.
pub(super) fn step(key: SortKey, steps: isize) -> SortKey {
    let all = SortKey::ALL;
    let at = all.iter().position(|&other| other == key).unwrap_or(0);
    let to = at.wrapping_add_signed(steps.rem_euclid(all.len() as isize));
    all[to % all.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_a_name_of_its_own() {
        for key in SortKey::ALL {
            assert_eq!(parse(name(key)), Ok(key));
        }
        assert!(parse("colour").unwrap_err().contains("newest"));
    }

    #[test]
    fn steps_go_round() {
        assert_eq!(step(SortKey::Size, -1), SortKey::Newest);
        assert_eq!(step(SortKey::Newest, 1), SortKey::Size);
        assert_eq!(step(SortKey::Exporter, 1), SortKey::Name);
    }
}
