//! What the kernel charges our control group for device memory: the dmem
//! controller, where a kernel has it (`Documentation/admin-guide/cgroup-v2.rst`).

use std::fs;
use std::path::Path;

use crate::control::status::DeviceMemoryStatus;

/// The regions that our group is charged for, none where nobody counts.
pub(super) fn read() -> Vec<DeviceMemoryStatus> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = group(&own) else {
        return Vec::new();
    };
    let directory = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let file = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
    regions(&file("dmem.current"), &file("dmem.max"))
}

/// Our group in the one hierarchy of version 2.
fn group(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

/// A line is a region and a number, or "max".
fn regions(current: &str, max: &str) -> Vec<DeviceMemoryStatus> {
    let limit = |region: &str| {
        let mut lines = max.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, limit) = lines.find(|(name, _)| *name == region)?;
        limit.parse().ok()
    };
    current
        .lines()
        .filter_map(|line| {
            let (region, used) = line.rsplit_once(' ')?;
            Some(DeviceMemoryStatus {
                region: region.to_owned(),
                used: used.parse().ok()?,
                limit: limit(region),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_their_use_and_their_limit() {
        let current = "drm/0000:03:00.0/vram0 8192\ndrm/0000:03:00.0/stolen 0\nnonsense\n";
        let max = "drm/0000:03:00.0/vram0 max\ndrm/0000:03:00.0/stolen 67108864\n";
        let expected = [("vram0", 8192, None), ("stolen", 0, Some(64 << 20))];
        let regions = regions(current, max);
        assert_eq!(regions.len(), expected.len());
        for (region, (name, used, limit)) in regions.iter().zip(expected) {
            assert!(region.region.ends_with(name));
            assert_eq!((region.used, region.limit), (used, limit));
        }
    }

    #[test]
    fn only_the_one_hierarchy_counts() {
        assert_eq!(
            group("12:cpu:/a\n0::/user.slice/x\n"),
            Some("/user.slice/x")
        );
        assert_eq!(group("1:cpu:/a\n"), None);
    }
}
