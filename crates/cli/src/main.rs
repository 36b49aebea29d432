//! The binary `sepconv`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_freed_memory();
    ExitCode::from(sepconv_cli::run(std::env::args_os()))
}

/// Lets glibc's allocator keep what is freed for the matrices that come next: fits make and drop them
/// all the time, and every one that is mapped anew is zeroed by the kernel (`mallopt(3)`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_freed_memory() {
    // The largest threshold that glibc takes, and what it may hold at the top of its heap.
    const MAPPED: i32 = 32 << 20;
    const HELD: i32 = 512 << 20;
    // SAFETY: no other thread runs yet, and both parameters are glibc's own.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, HELD);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}
