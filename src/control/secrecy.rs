//! Keeps what is secret in memory there: no core dump, and nobody of the same user may look inside.

/// Passwords and keys must not end in a file when the process crashes. Where the system does not know how, or
/// refuses, the process goes on: what it protects from is rare.
pub(super) fn no_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // A limit alone would not do: a handler that the kernel pipes the dump to does not heed it.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}
