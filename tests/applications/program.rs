//! Runs the check program of an application.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::scene::{Keys, Scene};
use crate::support::Flavor;

/// What installs the applications.
const INSTALLER: &str = "scripts/install-clients.sh";

/// After this a program tells where it hangs, and ends.
const DEADLINE_S: &str = "150";

/// How a program is run, and with what.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    Python,
    /// arq wants an older redis-py than the others, and has a virtual environment of its own.
    PythonOfArq,
    Node,
    Ruby,
}

impl Language {
    /// The start of the command line; nothing when the machine cannot have this language.
    fn command(self, program: &str) -> Option<Command> {
        let clients = root().join("target/clients");
        let applications = clients.join("applications");
        let (folder, suffix, interpreter, needed, missing) = match self {
            Language::Python | Language::PythonOfArq => {
                let python = match self {
                    Language::PythonOfArq => applications.join("arq/bin/python"),
                    _ => applications.join("python/bin/python"),
                };
                ("python", "_app.py", python.clone(), python, "python")
            }
            Language::Node => {
                let needed = applications.join("node_modules/bullmq/package.json");
                ("node", ".mjs", PathBuf::from("node"), needed, "node")
            }
            Language::Ruby => {
                let ruby = PathBuf::from("/usr/bin/ruby");
                ("ruby", "_app.rb", ruby.clone(), ruby, "ruby")
            }
        };
        for folder in [&clients, &applications] {
            let file = folder.join(format!("{missing}.missing"));
            if let Ok(reason) = std::fs::read_to_string(file) {
                // Past the test harness, which keeps the output of tests that pass to itself.
                let line = format!("\nSKIPPED, {program}: {reason}");
                // Nobody to tell: then there is nobody to read it either.
                let _ = std::io::stderr().write_all(line.as_bytes());
                return None;
            }
        }
        assert!(
            needed.exists(),
            "{} is missing: run {INSTALLER}",
            needed.display()
        );
        let scripts = root().join("tests/applications").join(folder);
        let mut command = Command::new(interpreter);
        command.arg(scripts.join(format!("{program}{suffix}")));
        if matches!(self, Language::Node) {
            command
                .arg("--modules")
                .arg(applications.join("node_modules"));
        }
        Some(command)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs an application's checks before a scene of their own; panics with what they print when one
/// fails.
#[track_caller]
pub fn check(flavor: Flavor, language: Language, program: &str, keys: Keys) {
    let Some(mut command) = language.command(program) else {
        return;
    };
    let scene = Scene::before(flavor, keys);
    command
        .args(["--url", &format!("redis://{}", scene.keyway.addr())])
        .args(["--before", "cluster", "--deadline-s", DEADLINE_S])
        .args(match keys {
            Keys::Tagged | Keys::PartlyTagged => ["--keys", "tagged"],
            Keys::Plain => ["--keys", "plain"],
        })
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // With its workers, so that none of them outlives the test.
        .process_group(0);
    if std::env::var_os("KEYWAY_TEST_FULL").is_some() {
        command.arg("--full");
    }
    let (success, output, complaints) = Program::start(&mut command).end();
    println!("{output}");
    assert!(
        success && output.contains(" 0 failed"),
        "{program} before {flavor:?}, keys {keys:?}:\n{output}{complaints}"
    );
}

/// The running program; killed with its children when a test ends before it does.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Program {
        Program(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }

    /// Waits for its end; gives whether it succeeded and what it wrote to both outputs.
    fn end(mut self) -> (bool, String, String) {
        let mut stderr = self.0.stderr.take().expect("it is piped");
        // Both must be read at once: a full pipe would stop the program.
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What came until an error is worth showing.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut text = Vec::new();
        let mut stdout = self.0.stdout.take().expect("it is piped");
        stdout.read_to_end(&mut text).expect("a pipe can be read");
        let output = String::from_utf8_lossy(&text).into_owned();
        let status = self.0.wait().expect("our own child can be waited for");
        let complaints = complaints.join().expect("a reader does not panic");
        (status.success(), output, complaints)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Nobody of it is left: that is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Fails only when it was waited for.
        let _ = self.0.wait();
    }
}
