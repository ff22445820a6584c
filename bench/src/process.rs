//! What the kernel says about the server's process: CPU time, memory, context switches.
//!
//! Read from `/proc/PID`. CPU time is the sum over its threads in nanoseconds (`schedstat`); the
//! split into user and kernel comes from the process's tick counters, which are exact only over
//! seconds. Memory is PSS: pages shared with others count in part.

use std::fs;

/// A reading of a process's counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Ticks in user mode.
    pub user_ticks: u64,
    /// Ticks in the kernel.
    pub kernel_ticks: u64,
    /// Proportional set size, in bytes.
    pub pss_bytes: u64,
    /// Resident set size, in bytes.
    pub rss_bytes: u64,
    /// Times that its threads went to sleep by themselves or were made to.
    pub context_switches: u64,
}

impl Usage {
    /// Reads the counters of process `pid`; `None` if there is no such process or it is not ours.
    pub fn read(pid: u32) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which may hold anything up to the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let mut usage = Usage {
            user_ticks: fields.get(11)?.parse().ok()?,
            kernel_ticks: fields.get(12)?.parse().ok()?,
            pss_bytes: pss_bytes(pid).unwrap_or(0),
            rss_bytes: rss_bytes(pid).unwrap_or(0),
            ..Usage::default()
        };
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let of_task = |name: &str| fs::read_to_string(task.path().join(name)).ok();
            let on_cpu = of_task("schedstat").and_then(|text| {
                text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok())
            });
            usage.cpu_ns += on_cpu.unwrap_or(0);
            let status = of_task("status").unwrap_or_default();
            let switches = status.lines().filter(|line| line.contains("ctxt_switches:"));
            usage.context_switches += switches.filter_map(last_number).sum::<u64>();
        }
        Some(usage)
    }

    /// What was used between `earlier` and this reading; memory is this reading's.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            kernel_ticks: self.kernel_ticks.saturating_sub(earlier.kernel_ticks),
            pss_bytes: self.pss_bytes,
            rss_bytes: self.rss_bytes,
            context_switches: self.context_switches.saturating_sub(earlier.context_switches),
        }
    }

    /// Share of the CPU time that was spent in user mode, 0 to 1.
    pub fn user_share(&self) -> f64 {
        let all = self.user_ticks + self.kernel_ticks;
        if all == 0 {
            return 0.0;
        }
        self.user_ticks as f64 / all as f64
    }
}

fn pss_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn last_number(line: &str) -> Option<u64> {
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_uses_memory_and_time() {
        let pid = std::process::id();
        let before = Usage::read(pid).unwrap();
        let (mut sum, mut used) = (0u64, Usage::default());
        // The kernel may count it late.
        while used.cpu_ns == 0 {
            for number in 0..3_000_000u64 {
                sum = std::hint::black_box(sum.wrapping_mul(31) ^ number);
            }
            used = Usage::read(pid).unwrap().since(&before);
        }
        assert!(used.pss_bytes > 100_000 && used.rss_bytes > 100_000, "{used:?}");
        assert!(Usage::read(u32::MAX).is_none());
    }
}
