//! Child processes that never outlive the test.
//!
//! 1. `Drop` kills and reaps the child, also when the test panics.
//! 2. When the test process is killed, the kernel kills the child: it is started through
//!    `setpriv --pdeathsig KILL` where util-linux has that. The signal is tied to the *thread* that
//!    forked, and a test's thread ends with its test, so one thread that lives as long as the
//!    process does all the forking.
//! 3. Folders are removed by a janitor: a shell that holds the other end of a pipe, and sees it
//!    close when the test process ends, however it ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::eventually::eventually_some;

/// A running (or ended) child process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with `arguments`; standard output and error go to `log`.
    pub fn start(program: &[String], log: &Path) -> io::Result<Process> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut command = match pdeathsig_wrapper() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(["--pdeathsig", "KILL", "--"]).args(program);
                command
            }
            None => {
                let mut command = Command::new(&program[0]);
                command.args(&program[1..]);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // A Ctrl-C at the terminal is for the test; `Drop` tells the children.
            .process_group(0);
        let child = fork_on_nursery(command)?;
        let pid = Pid::from_child(&child);
        Ok(Process {
            child,
            pid,
            ended: None,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; nothing if the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll_exit().is_none() {
            // A process that ends in between is a zombie until we reap it: its pid is still ours.
            kill_process(self.pid, signal).expect("our own child takes our signals");
        }
    }

    /// Its exit status, if it has ended.
    pub fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child can be waited");
        }
        self.ended
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually_some("the process ends", deadline, || self.poll_exit())
    }

    /// SIGKILL, and reaps it.
    pub fn kill(&mut self) {
        if self.poll_exit().is_none() {
            // Fails only when it has ended already, and `wait` below tells that.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// CPU time used so far: user and system (from `/proc`).
    pub fn cpu_time(&self) -> (Duration, Duration) {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |index: usize| {
            after_name
                .split_whitespace()
                .nth(index)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        // Linux shows these times in hundredths of a second, whatever the kernel's own tick.
        let time = |hundredths: u64| Duration::from_millis(hundredths * 10);
        (time(ticks(11)), time(ticks(12)))
    }

    /// Resident memory in bytes (from `/proc`); 0 when it has ended.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory it had so far, in bytes; 0 when it has ended.
    pub fn most_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, |entries| entries.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Answer = mpsc::Sender<io::Result<Child>>;

/// Forks on the thread that lives as long as this process.
fn fork_on_nursery(command: Command) -> io::Result<Child> {
    static NURSERY: OnceLock<Mutex<mpsc::Sender<(Command, Answer)>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<(Command, Answer)>();
        std::thread::Builder::new()
            .name("nursery".into())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    // The asking test may have been torn down; then nobody wants the child, and
                    // `Process` was never made: kill it here.
                    if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                        let _ = orphan.kill();
                        let _ = orphan.wait();
                    }
                }
            })
            .expect("a thread can be started");
        Mutex::new(requests)
    });
    let (answer, outcome) = mpsc::channel();
    nursery
        .lock()
        .expect("nobody panics while holding it")
        .send((command, answer))
        .expect("the nursery thread never ends");
    outcome.recv().expect("the nursery answers every request")
}

/// `setpriv`, if it is there and knows `--pdeathsig`.
fn pdeathsig_wrapper() -> Option<&'static str> {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    let knows = KNOWS.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    knows.then_some("setpriv")
}

/// A fresh folder, removed when this is dropped, or by the janitor when the process ends first.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one; `name` is for the reader of a failed test's message.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root().join(format!("{name}-{number}"));
        fs::create_dir_all(&path).expect("a folder can be made in the temporary folder");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left the janitor removes.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// This process' folder, watched over by a janitor.
fn root() -> &'static Path {
    // The janitor's pipe stays open as long as its `Child` is kept, and statics are never dropped.
    static ROOT: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (path, _janitor) = ROOT.get_or_init(|| {
        let path = tempfile::Builder::new()
            .prefix("keyway-test-")
            .tempdir()
            .expect("the temporary folder can be written")
            .keep();
        let janitor = hire_janitor(&path);
        (path, janitor)
    });
    path
}

/// Reads until the pipe closes, then removes the folder (twice: a server that is just being killed
/// may still write a file).
const JANITOR: &str = r#"trap "" INT TERM HUP; cat >/dev/null; rm -rf "$1"; sleep 1; rm -rf "$1""#;

fn hire_janitor(path: &Path) -> Child {
    Command::new("sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}
