//! Which rules a listener has while the tables of the others come and go: it is "read at start", so it keeps
//! listening until a restart, and must not become anybody else's door meanwhile.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::ports::Port;
use crate::support::{Client, FakeCluster, Keyway, eventually};

const DEADLINE: Duration = Duration::from_secs(30);
const READ: &str = "were read anew";

struct Second {
    keyway: Keyway,
    addr: SocketAddr,
    _port: Port,
    config: String,
    _fake: FakeCluster,
}

impl Second {
    /// A Keyway whose second listener has a password of its own and refuses FLUSHALL.
    fn start() -> Second {
        let fake = FakeCluster::start(1);
        let port = Port::lease();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let keyway = Keyway::before(&fake.seeds())
            .set("listen.password", "\"main-pw\"")
            .set("[listeners].name", "\"second\"")
            .set("[listeners].address", &format!("\"{addr}\""))
            .set("[listeners].password", "\"second-pw\"")
            .set("[listeners].deny", "[\"flushall\"]")
            .start();
        let config = fs::read_to_string(keyway.config_path()).expect("it was started with it");
        Second {
            keyway,
            addr,
            _port: port,
            config,
            _fake: fake,
        }
    }

    fn change(&self, config: &str) {
        let before = self.keyway.log().matches(READ).count();
        fs::write(self.keyway.config_path(), config).expect("our own folder");
        self.keyway.signal(Signal::HUP);
        eventually("it is read", DEADLINE, || {
            self.keyway.log().matches(READ).count() > before
        });
    }

    /// Strangers stay out, `password` opens, and FLUSHALL is refused.
    fn check(&self, password: &str) {
        eventually("the worker has taken it over", DEADLINE, || {
            let mut client = Client::connect(self.addr);
            client.call(&format!("AUTH {password}")).to_string() == "+OK"
        });
        let mut stranger = Client::connect(self.addr);
        stranger.expect_error("GET a", "NOAUTH");
        stranger.expect_error("FLUSHALL", "NOAUTH");
        let mut client = Client::connect(self.addr);
        client.expect(&format!("AUTH {password}"), "+OK");
        client.expect_error("FLUSHALL", "ERR 'flushall' is refused");
    }
}

/// The table `[[listeners]]` of the file, and what is around it.
fn cut(config: &str) -> (String, String) {
    let at = config.find("[[listeners]]").expect("it is there");
    let len = config[at + 1..].find("\n[");
    let len = len.map_or(config.len() - at, |len| len + 2);
    let without = format!("{}{}", &config[..at], &config[at + len..]);
    (without, config[at..at + len].to_owned())
}

#[test]
fn one_that_is_gone_keeps_its_rules() {
    let second = Second::start();
    second.check("second-pw");
    let (without, _) = cut(&second.config);
    let mut inside = Client::connect(second.addr);
    inside.expect("AUTH second-pw", "+OK");
    let mut stranger = Client::connect(second.addr);
    second.change(&without);
    second.check("second-pw");
    stranger.expect_error("GET a", "NOAUTH");
    inside.expect_error("FLUSHALL", "ERR 'flushall' is refused");
    let log = second.keyway.log();
    assert!(log.contains("until a restart"), "{log}");
    assert!(log.contains("listener=\"second\""), "{log}");
}

#[test]
fn rules_follow_the_name_and_not_the_place() {
    let second = Second::start();
    let (without, table) = cut(&second.config);
    let other =
        "[[listeners]]\nname = \"third\"\naddress = \"127.0.0.1:1\"\npassword = \"third-pw\"\n";
    second.change(&format!("{without}\n{other}\n{table}"));
    second.check("second-pw");
    let mut client = Client::connect(second.addr);
    client.expect_error("AUTH third-pw", "WRONGPASS");
    // What is changed in its own table is taken over.
    let table = table.replace("second-pw", "new-pw");
    second.change(&format!("{without}\n{other}\n{table}"));
    second.check("new-pw");
}
