//! Many keys, many nodes: commands that are split, broadcast, merged or walk the whole cluster.

mod every_node;
mod failed_parts;
mod info;
mod random_key;
mod scan;
mod scan_disturbed;
mod scripts;
mod split;

#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{Client, Flavor, Scene};

/// The cluster of a flavor, empty, for one test at a time: what counts all keys minds the neighbours.
struct Stage {
    scene: &'static Scene,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    fn take(flavor: Flavor) -> Stage {
        static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
        let turn = TURNS[flavor as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let scene = Scene::shared(flavor);
        // At the nodes themselves: what is being tested does not set the stage.
        for &primary in &scene.cluster.primaries() {
            scene.cluster.node(primary).ok("FLUSHALL");
        }
        Stage { scene, _turn: turn }
    }

    /// A client of Keyway.
    fn client(&self) -> Client {
        self.scene.keyway.client()
    }
}

/// `SET name value` for each, in pipelines of MSET.
fn fill(client: &mut Client, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    for names in names.chunks(1_000) {
        let mut words = vec!["MSET".to_owned()];
        for name in names {
            words.extend([name.clone(), format!("value of {name}")]);
        }
        assert_eq!(client.call_args(&words).to_string(), "+OK");
    }
}
