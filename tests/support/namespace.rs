//! A network namespace with addresses that exist nowhere else, and forwarded ports into it: what a
//! cluster in Docker or behind a NAT looks like from outside.
//!
//! The addresses lie on the namespace's own loopback device, so no packet can reach them from
//! elsewhere. A [`Forward`] listens where it was made; its thread is inside, so what it connects is
//! connected inside.
//! The namespace is removed by a janitor when this is dropped or the test process ends, however it
//! ends.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Removes the namespace once the pipe closes.
const JANITOR: &str = r#"trap "" INT TERM HUP; cat >/dev/null; ip netns delete "$1""#;
/// How long connecting inside may take; a node that is gone refuses at once.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// A namespace of this test's own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    janitor: Child,
}

impl Namespace {
    /// Makes one that has these addresses.
    ///
    /// # Errors
    /// What is missing on this machine, in words for whoever runs the test.
    pub fn create(addresses: &[Ipv4Addr]) -> Result<Namespace, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keyway-test-{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        let namespace = Namespace { name, janitor };
        namespace.ip(&["link", "set", "lo", "up"])?;
        for address in addresses {
            namespace.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        namespace.run(|| ())?;
        Ok(namespace)
    }

    /// What to put before a program so that it runs inside.
    pub fn wrapper(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name]
            .map(str::to_owned)
            .into()
    }

    /// Forwards `outside`, an address where the caller is, to `inside`.
    #[track_caller]
    pub fn forward(&self, outside: SocketAddr, inside: SocketAddr) -> Forward {
        // Made here, before the thread goes inside: a socket belongs where it was made.
        let listener = TcpListener::bind(outside)
            .unwrap_or_else(|error| panic!("forward from {outside}: {error}"));
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let namespace = self.file();
        std::thread::spawn(move || {
            enter(&namespace).expect("it could be entered when it was made");
            for from in listener.incoming().map_while(Result::ok) {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that leads nowhere is closed, as Docker's own proxy does it.
                if let Ok(to) = TcpStream::connect_timeout(&inside, CONNECT_PATIENCE) {
                    join(from, to);
                }
            }
        });
        Forward { outside, is_over }
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    fn file(&self) -> File {
        let path = format!("/run/netns/{}", self.name);
        File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Does something on a thread inside: what it connects and listens to is there. Processes are
    /// started inside with [`Namespace::wrapper`] only.
    ///
    /// # Errors
    /// This process may not enter a namespace.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, String> {
        let file = self.file();
        let outcome = std::thread::scope(|scope| {
            let inside = scope.spawn(|| enter(&file).map(|()| act()));
            inside.join()
        });
        match outcome {
            Ok(done) => done.map_err(|error| format!("cannot enter a network namespace: {error}")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // What is left then is nothing this process could do more about.
        let _ = self.janitor.wait();
    }
}

/// A forwarded port; connections through it outlive it.
#[derive(Debug)]
pub struct Forward {
    outside: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread, which sees the flag.
        let _ = TcpStream::connect(self.outside);
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Copies both ways until one end closes; then both are closed.
fn join(from: TcpStream, to: TcpStream) {
    for stream in [&from, &to] {
        // Only delays, should it fail.
        let _ = stream.set_nodelay(true);
    }
    let (Ok(from_again), Ok(to_again)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    for (mut source, mut sink) in [(from, to), (to_again, from_again)] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut source, &mut sink);
            let _ = sink.shutdown(Shutdown::Both);
            let _ = source.shutdown(Shutdown::Both);
        });
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let what = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("{what}: {error}; install iproute2"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what}: {}", said.trim()))
}
