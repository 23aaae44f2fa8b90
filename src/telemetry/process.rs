//! What the system says of this process, under the names that Prometheus' own libraries use.

use std::fs;
use std::time::UNIX_EPOCH;

use super::clock;

/// The figures at one moment; `None` where this system does not tell.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFigures {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<f64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// How many file descriptors may be open.
    pub max_fds: Option<f64>,
    /// When the process started, in seconds since 1970.
    pub start_time_seconds: f64,
}

impl ProcessFigures {
    /// Reads them; a few system calls, for the admin page only.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let nofile = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        ProcessFigures {
            cpu_seconds: cpu_seconds(),
            resident_bytes: status_bytes(&status, "VmRSS:"),
            virtual_bytes: status_bytes(&status, "VmSize:"),
            // Less the one that reads the folder.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count().saturating_sub(1) as f64),
            max_fds: nofile.current.map(|limit| limit as f64),
            start_time_seconds: clock::started_at()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)
}

/// A line of `/proc/self/status` such as `VmRSS:     1234 kB`, in bytes.
fn status_bytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_in_bytes() {
        let status = "Name:\tkeyway\nVmSize:\t    2048 kB\nVmRSS:\t      12 kB\n";
        for (field, expected) in [
            ("VmRSS:", Some(12.0 * 1024.0)),
            ("VmSize:", Some(2048.0 * 1024.0)),
            ("VmSwap:", None),
        ] {
            assert_eq!(status_bytes(status, field), expected, "{field}");
        }
    }

    #[test]
    fn linux_tells_everything() {
        if cfg!(target_os = "linux") {
            let figures = ProcessFigures::now();
            assert!(figures.resident_bytes.is_some_and(|bytes| bytes > 0.0));
            assert!(figures.virtual_bytes >= figures.resident_bytes);
            assert!(figures.open_fds.is_some_and(|fds| fds >= 3.0));
            assert!(figures.cpu_seconds.is_some());
        }
    }
}
