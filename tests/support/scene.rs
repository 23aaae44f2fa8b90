//! A cluster of three primaries and three replicas with a Keyway before it, one for each flavor and
//! test program: starting a cluster costs more than most tests do.
//!
//! Tests that share it keep to keys of their own and leave the topology alone. It is never dropped;
//! the kernel ends its processes with the test program.

use std::sync::OnceLock;

use super::servers::tail;
use super::{Cluster, Flavor, Keyway, Server};

/// What tests of one flavor share.
pub struct Scene {
    /// Which program serves.
    pub flavor: Flavor,
    /// Three primaries, three replicas.
    pub cluster: Cluster,
    /// Before the cluster, with one worker.
    pub keyway: Keyway,
    plain: OnceLock<Server>,
}

impl Scene {
    /// The one of this flavor; started when it is first asked for.
    pub fn shared(flavor: Flavor) -> &'static Scene {
        static SCENES: [OnceLock<Scene>; 2] = [OnceLock::new(), OnceLock::new()];
        SCENES[flavor as usize].get_or_init(|| {
            let cluster = Cluster::start(flavor);
            let keyway = Keyway::start(&cluster.seeds());
            show_log_on_panic(&keyway);
            Scene {
                flavor,
                keyway,
                cluster,
                plain: OnceLock::new(),
            }
        })
    }

    /// One server of the same flavor with cluster support off: what Keyway must look like.
    pub fn plain(&self) -> &Server {
        self.plain.get_or_init(|| Server::start(self.flavor))
    }
}

/// What is never dropped shows nothing when it is: a failing test shows the log itself.
fn show_log_on_panic(keyway: &Keyway) {
    let log = keyway.log_path();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        eprintln!("the end of a shared keyway's log:\n{}", tail(&log, 60));
    }));
}

/// Makes a test for each flavor out of functions that take one: `redis::name` and `valkey::name`.
macro_rules! each_flavor {
    ($($name:ident),+ $(,)?) => {
        mod redis {
            $(#[test] fn $name() { super::$name(crate::support::Flavor::Redis) })+
        }
        mod valkey {
            $(#[test] fn $name() { super::$name(crate::support::Flavor::Valkey) })+
        }
    };
}
pub(crate) use each_flavor;
