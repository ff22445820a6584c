//! Pins a shard's thread to one processor.

/// Pins the calling thread to the `index`-th of the processors that it may run on, wrapping around.
pub fn pin(index: usize) {
    // SAFETY: cpu sets are plain bit fields, all-zero is the empty one; sizes are passed.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) < 0 {
            return;
        }
        let processors: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
            .filter(|&processor| libc::CPU_ISSET(processor, &allowed))
            .collect();
        if processors.is_empty() {
            return;
        }
        let mut chosen: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processors[index % processors.len()], &mut chosen);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const chosen);
    }
}
