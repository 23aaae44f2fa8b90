//! Commands that Keyway knows only from the servers' own `COMMAND` (contract: R2).

mod again;
mod announce;
mod asked;
mod module;
mod routed;

#[path = "../support/mod.rs"]
mod support;

use announce::Told;
use support::{Action, FakeCluster, Keyway};

/// Nodes that announce these commands and answer each of them with their own name, and a Keyway before
/// them. `foo` and `{foo}...` belong to the second node, `bar` to the first.
fn scene(told: &[Told]) -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(2);
    for index in 0..fake.nodes().len() {
        serve(&fake, index, told);
    }
    let keyway = Keyway::start(&fake.seeds());
    (fake, keyway)
}

fn serve(fake: &FakeCluster, index: usize, told: &[Told]) {
    let node = fake.node(index);
    for told in told {
        let name = told.name.replace('|', " ");
        node.always(&name, Action::bulk(&format!("node-{index}")));
    }
    // The bare command; `COMMAND GETKEYS` and the like have rules of their own, made before.
    node.always("COMMAND", Action::Reply(announce::listing(told)));
}
