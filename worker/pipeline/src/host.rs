//! What Linux says of this process's memory.

use std::fs;

/// What the process holds in memory, in bytes, where the system tells.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// The most that it held since [`forget_peak`], or since it started where that does nothing.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Lets [`peak`] begin anew, where the system allows it (`man 5 proc_pid_clear_refs`).
pub fn forget_peak() {
    // A refusal leaves a peak that is too high rather than too low.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_something_and_no_more_than_its_peak() {
        let held = resident().unwrap();
        assert!(held > 1 << 20, "{held}");
        assert!(peak().unwrap() >= held);
    }
}
