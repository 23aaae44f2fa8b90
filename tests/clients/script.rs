//! Runs a check program in another language, and restarts Keyway when it asks for that.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::scene::{PASSWORD, Scene};
use crate::support::Flavor;
use crate::support::eventually::eventually_some;

/// What installs the libraries.
const INSTALLER: &str = "scripts/install-clients.sh";

/// After this a program tells where it hangs, and ends.
const DEADLINE_S: &str = "90";

/// The interpreter of a language, in the folder where its libraries are.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    Python,
    Node,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Node => "node",
        }
    }

    /// The start of the command line; nothing when the machine cannot have this language.
    fn command(self) -> Option<Command> {
        let home = root().join("target/clients");
        let (program, needed, script) = match self {
            Language::Python => {
                let python = home.join("python/bin/python");
                (python.clone(), python, "python/main.py")
            }
            Language::Node => (
                PathBuf::from("node"),
                home.join("node_modules/redis/package.json"),
                "node/main.mjs",
            ),
        };
        if let Ok(reason) = std::fs::read_to_string(home.join(format!("{}.missing", self.name()))) {
            // Past the test harness, which keeps the output of tests that pass to itself.
            let line = format!("\nSKIPPED, {} clients: {reason}", self.name());
            // Nobody to tell: then there is nobody to read it either.
            let _ = std::io::stderr().write_all(line.as_bytes());
            return None;
        }
        assert!(
            needed.exists(),
            "{} is missing: run {INSTALLER}",
            needed.display()
        );
        let mut command = Command::new(program);
        command.arg(root().join("tests/clients").join(script));
        if matches!(self, Language::Node) {
            command.arg("--modules").arg(home.join("node_modules"));
        }
        Some(command)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the checks of a library before a scene of their own; panics with what they print when one
/// fails.
#[track_caller]
pub fn check(flavor: Flavor, language: Language, arguments: &[&str]) {
    let Some(mut command) = language.command() else {
        return;
    };
    let scene = Scene::before(flavor);
    let protected = scene.protected();
    let port = |addr: std::net::SocketAddr| addr.port().to_string();
    command
        .args(arguments)
        .args(["--port", &port(scene.addr())])
        .args(["--protected-port", &port(protected.addr())])
        .args(["--password", PASSWORD])
        .args(["--deadline-s", DEADLINE_S])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = Program::start(&mut command);
    let output = program.talk(&scene);
    println!("{output}");
    assert!(
        program.succeeds() && output.contains(" 0 failed"),
        "{language:?} {} before {flavor:?}:\n{output}{}",
        arguments.join(" "),
        program.complaints()
    );
}

/// The running program; killed when a test ends before it does.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Program {
        Program(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }

    /// Reads what it prints until it ends, and does what it asks for.
    fn talk(&mut self, scene: &Scene) -> String {
        let stdout = self.0.stdout.take().expect("it is piped");
        let mut stdin = self.0.stdin.take().expect("it is piped");
        let mut output = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("a pipe can be read, and these programs write UTF-8");
            if line == "RESTART" {
                scene.restart();
                // A program that has ended in between tells so by its status.
                let _ = stdin.write_all(b"RESTARTED\n");
            } else {
                output.push_str(&line);
                output.push('\n');
            }
        }
        output
    }

    fn succeeds(&mut self) -> bool {
        let status = eventually_some("the program ends", Duration::from_secs(10), || {
            self.0.try_wait().expect("our own child can be waited for")
        });
        status.success()
    }

    /// What it wrote to standard error: the trace of an exception, or where it hung.
    fn complaints(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(stderr) = self.0.stderr.as_mut() {
            // It has ended, so this does too.
            let _ = stderr.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
