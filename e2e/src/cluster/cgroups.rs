//! The control group under which the kubelet puts all pods, in each hierarchy of the host: version 1, 2, or both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::poll;

/// The name of the group, at the top of each hierarchy.
pub(crate) const NAME: &str = "trellis3d";

/// Creates the group.
pub(crate) fn create() -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(NAME);
        if !group.exists() {
            fs::create_dir(&group)
                .with_context(|| format!("cannot create the control group {}", group.display()))?;
        }
        // Version 2: a group has the controllers that its parent hands down.
        for parent in [&hierarchy, &group] {
            hand_down_controllers(parent);
        }
    }
    Ok(())
}

fn hand_down_controllers(group: &Path) {
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        // One that cannot be had (a real-time one, say) is missed by the kubelet, or by nobody.
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Removes the group and all groups in it. Their processes must have been killed; the kernel may need a moment for them.
pub(crate) fn remove() -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(NAME);
        poll(&format!("the control group {} to empty", group.display()), Duration::from_secs(20), || {
            remove_tree(&group);
            Ok((!group.exists()).then_some(()))
        })?;
    }
    Ok(())
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    Ok(cgroup_mounts(&mounts))
}

fn cgroup_mounts(mounts: &str) -> Vec<PathBuf> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    fields.filter(|(_, kind)| matches!(*kind, "cgroup" | "cgroup2")).map(|(path, _)| path.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let expected = [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/unified")];
        assert_eq!(cgroup_mounts(mounts), expected);
    }
}
