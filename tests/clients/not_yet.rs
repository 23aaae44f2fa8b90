//! What this version of Keyway does not serve: a clear error that names the command. When one of
//! these is served, its line here goes, and tests of what it does take its place.
//!
//! The calls are made by hand, not by the library's own methods, which hide what was answered.

use redis::{ErrorKind, ProtocolVersion, RedisError, ServerErrorKind};

use crate::redis_rs::client;
use crate::scene::Scene;

/// The words of a call, and the name that the error gives.
const REFUSED: &[(&str, &str)] = &[("CLIENT TRACKING ON REDIRECT 1", "redirect")];

#[test]
fn errors_name_the_command() {
    let scene = Scene::start();
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut connection = client(&scene.url(), protocol).get_connection();
        let connection = connection.as_mut().expect("connects");
        for (line, name) in REFUSED {
            let mut words = line.split(' ');
            let mut command = redis::cmd(words.next().unwrap_or_default());
            for word in words {
                command.arg(word);
            }
            let error = command.exec(connection).expect_err(line);
            assert_names(&error, name, line);
            let pong: String = redis::cmd("PING").query(connection).expect("it goes on");
            assert_eq!(pong, "PONG", "after {line}");
        }
    }
}

#[track_caller]
fn assert_names(error: &RedisError, name: &str, line: &str) {
    let is_reply = matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ResponseError)
    );
    let text = error.to_string().to_lowercase();
    assert!(is_reply && text.contains(name), "{line}: {text}");
}
