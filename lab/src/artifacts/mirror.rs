//! Which Debian mirror this machine uses, asked of its own apt.

use std::process::Command;

/// The mirrors to try, the likeliest first: what `LANDBRIDGE_LAB_MIRROR` names,
/// or else what apt is set up with.
///
/// apt answers itself, so that every format of its sources is understood.
pub(super) fn candidates() -> Vec<String> {
    if let Some(mirror) = std::env::var("LANDBRIDGE_LAB_MIRROR")
        .ok()
        .filter(|mirror| !mirror.is_empty())
    {
        return vec![mirror];
    }
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--no-release-info",
            "--format",
            "$(REPO_URI)",
        ])
        .output();
    match output {
        Ok(output) => in_order(&String::from_utf8_lossy(&output.stdout)),
        Err(_) => Vec::new(),
    }
}

/// The archives' own name for their folder is `debian`; security updates and
/// other publishers' repositories are no use here.
fn in_order(uris: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for uri in uris.lines().map(|uri| uri.trim().trim_end_matches('/')) {
        let usable = !uri.is_empty() && !uri.ends_with("-security");
        if usable && !found.iter().any(|known| known == uri) {
            found.push(uri.to_owned());
        }
    }
    found.sort_by_key(|uri| !uri.ends_with("/debian"));
    found
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn the_archive_itself_comes_first_and_security_never() {
        let uris = "https://example.org/apt/\nhttp://mirror.example/debian-security/\n\
                    http://mirror.example/debian/\nhttp://mirror.example/debian/\n";
        assert_eq!(
            in_order(uris),
            ["http://mirror.example/debian", "https://example.org/apt"]
        );
        assert!(in_order("").is_empty());
    }
}
