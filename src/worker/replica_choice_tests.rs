//! The choice of a node for a read, case by case and by properties.

use super::*;

const PRIMARY: NodeKey = NodeKey(0);

/// Nodes written as letters: `f` fit, `c` cut off, `u` unfit; upper case is near; `!` before a letter
/// means that it cannot be reached. The first is the primary, `p` or `P`.
fn nodes(text: &str) -> Vec<Standing> {
    let mut nodes = Vec::new();
    let mut is_reachable = true;
    for letter in text.chars() {
        if letter == '!' {
            is_reachable = false;
            continue;
        }
        nodes.push(Standing {
            node: NodeKey(nodes.len() as u32),
            is_reachable: std::mem::replace(&mut is_reachable, true),
            is_near: letter.is_ascii_uppercase(),
            fitness: match letter.to_ascii_lowercase() {
                'f' => Fitness::Fit,
                'c' => Fitness::CutOff,
                _ => Fitness::Unfit,
            },
        });
    }
    nodes
}

fn chosen(policy: ReadPolicy, reader: u64, text: &str, fastest: Option<u32>) -> Choice {
    let nodes = nodes(text);
    let replicas = nodes[1..].iter().copied();
    choose(policy, reader, nodes[0], replicas, fastest.map(NodeKey))
}

/// Every node that some reader gets, `0` being the primary, `-` the primary for want of a replica.
fn all_chosen(policy: ReadPolicy, text: &str, fastest: Option<u32>) -> String {
    let mut found = std::collections::BTreeSet::new();
    for reader in 0..200 {
        found.insert(match chosen(policy, reader, text, fastest) {
            Choice::Primary => "0".to_owned(),
            Choice::NoReplica => "-".to_owned(),
            Choice::Replica(node) => node.0.to_string(),
        });
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_policy_in_each_case() {
    use ReadPolicy::{Any, LowestLatency, PreferReplica, Primary, SameZone};
    for (policy, nodes, fastest, expected) in [
        (Primary, "pff", None, "0"),
        (Primary, "!pff", None, "0"),
        (PreferReplica, "pff", None, "1 2"),
        (PreferReplica, "pfu", None, "1"),
        (PreferReplica, "p!ff", None, "2"),
        (PreferReplica, "puc", None, "-"),
        (PreferReplica, "p", None, "-"),
        (PreferReplica, "!puc", None, "2"),
        (PreferReplica, "!pfc", None, "1"),
        (PreferReplica, "!pu!c", None, "-"),
        (Any, "pff", None, "0 1 2"),
        (Any, "pfu", None, "0 1"),
        (Any, "puu", None, "-"),
        (Any, "!pff", None, "1 2"),
        (Any, "!pcc", None, "1 2"),
        (LowestLatency, "pff", None, "0"),
        (LowestLatency, "pff", Some(0), "0"),
        (LowestLatency, "pff", Some(2), "2"),
        (LowestLatency, "pfu", Some(2), "0"),
        (LowestLatency, "!pff", Some(0), "1 2"),
        (SameZone, "pfF", None, "2"),
        (SameZone, "PFf", None, "1"),
        (SameZone, "Pff", None, "0"),
        (SameZone, "pff", None, "1 2"),
        (SameZone, "puU", None, "-"),
        (SameZone, "pfU", None, "1"),
        (SameZone, "!Pff", None, "1 2"),
        (SameZone, "p!Ff", None, "2"),
    ] {
        assert_eq!(
            all_chosen(policy, nodes, fastest),
            expected,
            "{policy:?} {nodes} {fastest:?}"
        );
    }
}

/// Whatever the nodes and the policy: what cannot serve is never chosen, a reader's node does not change
/// when another leaves, and no node gets much more than its share.
#[test]
fn properties_of_every_choice() {
    use ReadPolicy::{Any, LowestLatency, PreferReplica, SameZone};
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let mut text = (*random.choice(["p", "P", "!p"].iter()).expect("three")).to_owned();
        for _ in 0..random.usize(..5) {
            let node = random.choice(["f", "F", "c", "u", "!f"].iter());
            text.push_str(node.expect("five"));
        }
        let policies = [PreferReplica, Any, LowestLatency, SameZone];
        let policy = *random.choice(policies.iter()).expect("four");
        let fastest = random.bool().then(|| random.u32(..6));
        let reader = random.u64(..);
        let standings = nodes(&text);
        let choice = chosen(policy, reader, &text, fastest);
        assert_eq!(
            choice,
            chosen(policy, reader, &text, fastest),
            "it is sticky"
        );
        let case = format!("{policy:?} {text} {fastest:?} {reader}: {choice:?}");
        let Choice::Replica(node) = choice else {
            let serves = |one: &Standing| {
                one.is_reachable && one.fitness == Fitness::Fit && one.node != PRIMARY
            };
            let is_wanted = policy == PreferReplica || !standings[0].is_reachable;
            assert!(!is_wanted || !standings[1..].iter().any(serves), "{case}");
            continue;
        };
        let standing = standings[node.0 as usize];
        assert!(node != PRIMARY && standing.is_reachable, "{case}");
        let is_allowed = match standing.fitness {
            Fitness::Fit => true,
            Fitness::CutOff => !standings[0].is_reachable,
            Fitness::Unfit => false,
        };
        assert!(is_allowed, "{case}");
        // Any other replica that leaves changes nothing for this reader.
        for gone in 1..standings.len() as u32 {
            let left = standings[1..].iter().copied();
            let left = left.filter(|replica| replica.node.0 != gone);
            if gone != node.0 {
                let again = choose(policy, reader, standings[0], left, fastest.map(NodeKey));
                assert_eq!(again, choice, "{case} without {gone}");
            }
        }
    }
}

#[test]
fn readers_are_spread_evenly() {
    let mut counts = [0; 4];
    for reader in 0..40_000_u64 {
        let of_client = reader.wrapping_mul(0x1_0001);
        match chosen(ReadPolicy::Any, of_client, "pfff", None) {
            Choice::Primary => counts[0] += 1,
            Choice::Replica(node) => counts[node.0 as usize] += 1,
            Choice::NoReplica => panic!("there are three"),
        }
    }
    for count in counts {
        assert!((9_000..11_000).contains(&count), "{counts:?}");
    }
}
