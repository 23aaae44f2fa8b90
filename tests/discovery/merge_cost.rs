//! What settling a refresh costs the control thread.
//! `cargo test --release --test discovery -- --ignored --nocapture` prints it.

use std::time::Instant;

use keyway::cluster::view::{Answered, View};
use keyway::cluster::view_nodes::parse_nodes;
use keyway::cluster::views::merge;
use keyway::cluster::{AddressMap, Endpoint, Slot};

/// Three primaries that share the slots in so many runs, as one of them says it.
fn view(viewer: usize, runs: usize) -> View {
    let size = Slot::COUNT / runs;
    let line = |node: usize| {
        let own = (0..runs).filter(|run| run % 3 == node);
        let slots: String = own
            .map(|run| format!(" {}-{}", run * size, (run + 1) * size - 1))
            .collect();
        let me = if node == viewer { "myself," } else { "" };
        format!("id{node} 10.0.0.{node}:1@2 {me}master - 0 0 {node} connected{slots}\n")
    };
    let by: Endpoint = "seed:1".parse().expect("an endpoint");
    let answered = Answered {
        by: &by,
        over_tls: false,
    };
    let text: String = (0..3).map(line).collect();
    parse_nodes(text.as_bytes(), answered).expect("a good reply")
}

#[test]
#[ignore = "prints a measurement"]
fn how_long_a_merge_takes() {
    for runs in [3, 300, Slot::COUNT] {
        let views: Vec<View> = (0..3).map(|viewer| view(viewer, runs)).collect();
        let views: Vec<&View> = views.iter().collect();
        let known = merge(&views, None, &AddressMap::default()).topology;
        let rounds = 100;
        let began = Instant::now();
        for _ in 0..rounds {
            let merged = merge(&views, Some(&known), &AddressMap::default());
            assert!(merged.topology.same_map(&known));
        }
        println!(
            "{runs} runs of slots: {:?} a merge",
            began.elapsed() / rounds
        );
    }
}
