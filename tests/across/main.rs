//! Reads over several slots (`compatibility.cross_slot_reads = "emulate"`): the same replies as one
//! server gives, and `CROSSSLOT` without the opt-in.

mod counts;
mod random;
mod refused;
mod trouble;

#[path = "../support/mod.rs"]
mod support;

use std::sync::OnceLock;

use support::{Client, Flavor, Keyway, Scene};

/// The Keyway of a flavor that computes such reads.
fn emulating(flavor: Flavor) -> &'static Keyway {
    static ALL: [OnceLock<Keyway>; 2] = [OnceLock::new(), OnceLock::new()];
    ALL[flavor as usize].get_or_init(|| {
        let seeds = Scene::shared(flavor).cluster.seeds();
        Keyway::before(&seeds)
            .set("compatibility.cross_slot_reads", "\"emulate\"")
            .start()
    })
}

/// One server and Keyway, both asked the same and compared byte for byte.
struct Pair {
    server: Client,
    through: Client,
    version: u8,
}

impl Pair {
    fn new(flavor: Flavor, version: u8) -> Pair {
        let server = Scene::shared(flavor).plain().client();
        let through = emulating(flavor).client();
        let mut pair = Pair {
            server,
            through,
            version,
        };
        for client in [&mut pair.server, &mut pair.through] {
            let hello = client.call(&format!("HELLO {version}"));
            assert!(!hello.is_error(), "{hello}");
        }
        pair
    }

    /// Sends the same to both, without comparing.
    fn fill(&mut self, words: &[Vec<u8>]) {
        for client in [&mut self.server, &mut self.through] {
            let reply = client.call_args(words);
            assert!(!reply.is_error(), "{reply}");
        }
    }

    /// The two replies as bytes.
    fn ask(&mut self, words: &[Vec<u8>]) -> [Vec<u8>; 2] {
        [&mut self.server, &mut self.through].map(|client| {
            client.send_args(words);
            client.read_raw()
        })
    }

    /// The replies are the same; those that are sets up to the order of their elements, which no
    /// server promises.
    #[track_caller]
    fn same(&mut self, words: &[Vec<u8>]) {
        let [server, through] = self.ask(words).map(|reply| in_order(words, &reply));
        let shown: Vec<_> = words
            .iter()
            .map(|word| word.escape_ascii().to_string())
            .collect();
        assert_eq!(
            through.escape_ascii().to_string(),
            server.escape_ascii().to_string(),
            "RESP{} {shown:?}",
            self.version
        );
    }

    #[track_caller]
    fn same_line(&mut self, line: &str) {
        self.same(&support::client::words(line));
    }

    #[track_caller]
    fn fill_line(&mut self, line: &str) {
        self.fill(&support::client::words(line));
    }
}

/// The reply with its elements sorted, when it is that of a command about sets.
fn in_order(words: &[Vec<u8>], reply: &[u8]) -> Vec<u8> {
    let is_of_sets = words[0].first().is_some_and(|first| b"sS".contains(first));
    if !is_of_sets || !matches!(reply.first(), Some(b'*' | b'~')) {
        return reply.to_vec();
    }
    let mut elements: Vec<&[u8]> = keyway::resp::reply::elements(reply)
        .expect("a set")
        .collect();
    elements.sort_unstable();
    let head = reply
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    [&reply[..head], &elements.concat()].concat()
}
