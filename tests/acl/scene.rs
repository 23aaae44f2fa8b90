//! Keyway with the users, before a cluster, and one server that has the same users.

use std::fs;
use std::sync::OnceLock;

use crate::support::process::Folder;
use crate::support::{Client, Flavor, Keyway, Scene, Server};
use crate::users::{USERS, acl_file};

pub struct Pair {
    pub keyway: Keyway,
    pub server: Server,
    _folder: Folder,
}

impl Pair {
    /// The one of this flavor.
    pub fn shared(flavor: Flavor) -> &'static Pair {
        static PAIRS: [OnceLock<Pair>; 2] = [OnceLock::new(), OnceLock::new()];
        PAIRS[flavor as usize].get_or_init(|| {
            let folder = Folder::new("acl");
            let file = folder.path().join("users.acl");
            fs::write(&file, acl_file()).expect("our own folder");
            let server = Server::start(flavor);
            for (name, rules) in USERS {
                let mut words = vec!["ACL", "SETUSER", name];
                words.extend(rules.split(' '));
                words.push(">p");
                let mut client = server.client();
                let reply = client.call_args(&words).to_string();
                assert_eq!(reply, "+OK", "{name}");
            }
            let keyway = Keyway::before(&Scene::shared(flavor).cluster.seeds())
                .set("acl.file", &format!("\"{}\"", file.display()))
                .set("acl.auth_failures", "0")
                .start();
            Pair {
                keyway,
                server,
                _folder: folder,
            }
        })
    }

    /// A client of each that has said who it is.
    pub fn clients(&self, user: &str) -> [Client; 2] {
        [self.keyway.client(), self.server.client()].map(|mut client| {
            client.expect(&format!("AUTH {user} p"), "+OK");
            client
        })
    }
}
