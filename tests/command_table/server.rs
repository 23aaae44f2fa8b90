//! One server for one test, and just enough of RESP2 to ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::eventually::eventually_some;

/// A reply of RESP2.
#[derive(Debug)]
pub enum Reply {
    Text(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Null,
    Array(Vec<Reply>),
}

impl Reply {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Text(bytes) => bytes,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    pub fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(elements) => elements,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// The value after `name` in a flat map.
    pub fn field(&self, name: &str) -> &Reply {
        let mut pairs = self.array().chunks_exact(2);
        &pairs
            .find(|pair| pair[0].text() == name)
            .expect("the servers name this field")[1]
    }
}

/// A server of its own on a Unix socket, so that no two tests want one port; killed when dropped.
pub struct Server {
    _process: Process,
    stream: BufReader<UnixStream>,
    _folder: tempfile::TempDir,
}

/// Whether a program describes commands as this needs it: Redis 6.2 tells neither sub-commands nor how to find keys.
pub fn describes_commands(binary: &str) -> bool {
    let describes = version(binary) >= (7, 0);
    if !describes {
        eprintln!("{binary} tells too little of its commands: not compared");
    }
    describes
}

/// The version that the program prints: major and minor.
pub fn version(binary: &str) -> (u32, u32) {
    let output = Command::new(binary).arg("--version").output();
    let text = output.unwrap_or_else(|error| panic!("{binary} does not run: {error}"));
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let mut words = text.split_whitespace();
    let version = words.find_map(|word| word.strip_prefix("v="));
    let mut numbers = version.unwrap_or_default().split('.');
    let mut number = || {
        numbers
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    };
    (number(), number())
}

impl Server {
    pub fn start(binary: &str) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("socket");
        let child = Command::new(binary)
            .args(["--port", "0", "--save", "", "--dir"])
            .arg(folder.path())
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{binary} does not start ({error}); scripts/install-servers.sh installs it")
            });
        let process = Process(child);
        let stream = eventually_some("the server listens", Duration::from_secs(20), || {
            UnixStream::connect(&socket).ok()
        });
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout that is not zero");
        Server {
            _process: process,
            stream: BufReader::new(stream),
            _folder: folder,
        }
    }

    pub fn ask(&mut self, words: &[&[u8]]) -> Reply {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream
            .get_mut()
            .write_all(&request)
            .expect("the server reads");
        self.read()
    }

    fn read(&mut self) -> Reply {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .expect("the server answers within the timeout");
        let line = line
            .strip_suffix(b"\r\n")
            .expect("a line ends with a line break");
        let (kind, rest) = line.split_first().expect("a reply has a kind");
        let number = || {
            String::from_utf8_lossy(rest)
                .parse::<i64>()
                .expect("a number")
        };
        match kind {
            b'+' => Reply::Text(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Integer(number()),
            b'*' => Reply::Array((0..number()).map(|_| self.read()).collect()),
            _ => match usize::try_from(number()) {
                Err(_) => Reply::Null,
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.stream
                        .read_exact(&mut bytes)
                        .expect("a text as long as announced");
                    bytes.truncate(len);
                    Reply::Text(bytes)
                }
            },
        }
    }
}

/// Ends with its test, also when that panics.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
