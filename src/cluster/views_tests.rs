//! contract: R9

use proptest::prelude::*;

use super::*;
use crate::cluster::view::Answered;
use crate::cluster::view_nodes::parse_nodes;

/// A view in short: `viewer: a=7 0-99, b=3 100-199 fail, r>a=7`. Addresses follow from the names.
fn view(text: &str) -> View {
    let (viewer, nodes) = text.split_once(':').expect("viewer: nodes");
    let lines: Vec<String> = nodes.split(',').map(|node| line(node, viewer)).collect();
    let by: Endpoint = format!("{viewer}.net:1").parse().expect("an endpoint");
    let answered = Answered {
        by: &by,
        over_tls: false,
    };
    parse_nodes(lines.join("\n").as_bytes(), answered).expect(text)
}

fn line(node: &str, viewer: &str) -> String {
    let mut words = node.split_whitespace();
    let (name, epoch) = words.next().and_then(|w| w.split_once('=')).expect(node);
    let (name, role, primary) = match name.split_once('>') {
        Some((name, primary)) => (name, "slave", primary),
        None => (name, "master", "-"),
    };
    let (flags, slots): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("fail"));
    let flags = flags
        .iter()
        .map(|flag| format!(",{flag}"))
        .collect::<String>();
    let me = if name == viewer { "myself," } else { "" };
    let slots = slots.join(" ");
    format!("{name} {name}.net:1@2 {me}{role}{flags} {primary} 0 0 {epoch} connected {slots}")
}

fn known(text: &str) -> Topology {
    merge(&[&view(text)], None, &AddressMap::default()).topology
}

fn merged(views: &[&str], previous: Option<&str>) -> Merged {
    let views: Vec<View> = views.iter().map(|text| view(text)).collect();
    let previous = previous.map(known);
    let mut refs: Vec<&View> = views.iter().collect();
    let merged = merge(&refs, previous.as_ref(), &AddressMap::default());
    refs.reverse();
    let again = merge(&refs, previous.as_ref(), &AddressMap::default());
    assert!(
        merged.topology.same_map(&again.topology),
        "the order of the views decided"
    );
    merged
}

/// The owners of slots 0, 1, 2 ...; `-` for none.
fn owners(topology: &Topology, slots: u16) -> String {
    let owner = |number| {
        let owner = topology.owner(Slot::new(number)?)?;
        Some(topology.node(owner)?.id.to_string())
    };
    (0..slots)
        .map(|slot| owner(slot).unwrap_or("-".into()))
        .collect()
}

#[track_caller]
fn check(views: &[&str], previous: Option<&str>, expected: &str, held: usize) {
    let merged = merged(views, previous);
    let slots = u16::try_from(expected.len()).expect("short");
    assert_eq!(owners(&merged.topology, slots), expected);
    assert_eq!(merged.held, held);
}

#[test]
fn the_higher_epoch_wins_a_slot() {
    let old = "c:a=1 0-1,b=2 2-3,c=3";
    let new = "b:a=1 0,b=4 1-3,c=3";
    check(&[old, new], None, "abbb", 0);
    // A node that lags does not roll back what was known, alone or together.
    check(&[old], Some(new), "abbb", 1);
    check(&[new], Some(old), "abbb", 0);
}

#[test]
fn a_minority_does_not_roll_back_a_failover() {
    let before = "b:p=1 0-1,b=2 2,c=3 3,r>p=1";
    let minority = "p:p=1 0-1,b=2 2 fail?,c=3 3 fail?,r>p=1 fail?";
    let majority = "b:p=1 fail,b=2 2,c=3 3,r=4 0-1";
    check(&[minority, majority], Some(before), "rrbc", 0);
    check(&[minority], Some(majority), "rrbc", 2);
    let merged = merged(&[minority, majority], Some(before));
    let node = |id: &str| {
        let index = merged.topology.node_by_id(id).expect(id);
        merged.topology.node(index).expect(id).clone()
    };
    assert_eq!(node("p").health, Health::Failed);
    assert_eq!(
        (node("r").role, node("r").health),
        (Role::Primary, Health::Online)
    );
    assert_eq!(node("r").config_epoch, 4);
}

#[test]
fn a_nodes_word_about_itself_counts() {
    // DELSLOTS on `a`, ADDSLOTS on `b`: no epoch rose, `c` has not noticed.
    let a = "a:a=9 0,b=3 2,c=4 3";
    let b = "b:a=9 0-1,b=3 1-2,c=4 3";
    let c = "c:a=9 0-1,b=3 2,c=4 3";
    check(&[a, b, c], None, "abbc", 0);
    check(&[a, c], None, "aabc", 0);
    check(&[a], Some(c), "a-bc", 0);
    // Its word of yesterday does not: `b` was asked before it took the slot.
    let b_early = "b:a=9 0-1,b=3 2,c=4 3";
    let c_late = "c:a=9 0,b=10 1-2,c=4 3";
    check(&[a, b_early, c_late], None, "abbc", 0);
}

#[test]
fn a_move_half_told_keeps_an_owner() {
    // SETSLOT NODE reached the old owner first: it says `b`, `b` still says `a`.
    check(&["a:a=9 0,b=3 2", "b:a=9 0-1,b=3 2"], None, "aab", 0);
}

#[test]
fn without_epochs_the_owner_and_then_the_votes_decide() {
    check(
        &["a:a=0 0,b=0", "c:a=0,b=0 0,c=0", "d:a=0,b=0 0,d=0"],
        None,
        "a",
        0,
    );
    check(
        &["c:a=0 0,b=0,c=0", "d:a=0,b=0 0,d=0", "e:a=0,b=0 0,e=0"],
        None,
        "b",
        0,
    );
    check(
        &["c:a=0 0,b=0,c=0", "d:a=0,b=0 0,d=0"],
        Some("c:a=0,b=0 0,c=0"),
        "b",
        0,
    );
}

#[test]
fn forgotten_nodes_go_and_held_owners_stay() {
    let merged_view = merged(&["b:b=2 1,c=3 2"], Some("b:a=1 0,b=2 1,c=3 2,r>a=1"));
    assert_eq!(merged_view.held, 1);
    assert_eq!(owners(&merged_view.topology, 3), "abc");
    assert_eq!(merged_view.topology.node_by_id("r"), None);
    let quorum = merged(&["b:b=2 1,c=3 2", "c:b=2 1,c=3 2"], None);
    assert!(quorum.is_quorum);
    assert!(!merged_view.is_quorum);
}

#[test]
fn replicas_follow_where_their_primary_went() {
    let merged = merged(&["b:b=2 1,p>r=4,r=4 0,s>p=1,t>u=1,x>y=1,y>x=1"], None);
    let role = |id: &str| {
        let index = merged.topology.node_by_id(id).expect(id);
        match merged.topology.node(index).expect(id).role {
            Role::Primary => "primary".to_owned(),
            Role::Replica(of) => merged.topology.node(of).expect("in range").id.to_string(),
        }
    };
    assert_eq!(role("p"), "r");
    assert_eq!(role("s"), "r");
    assert_eq!(role("t"), "primary");
    // A circle ends somewhere.
    role("x");
}

#[test]
fn an_endpoint_without_host_yields_to_a_named_one() {
    let mut alone = view("a:a=1 0");
    let place = alone.nodes[0].announced.as_mut().expect("it has one");
    place.is_same_host = true;
    place.endpoint.host = "seed".into();
    let endpoint = |views: &[&View], previous: Option<&Topology>| {
        let topology = merge(views, previous, &AddressMap::default()).topology;
        topology.nodes[0].endpoint.to_string()
    };
    assert_eq!(endpoint(&[&alone], None), "seed:1");
    let other = view("b:a=1 0,b=2 1");
    assert_eq!(endpoint(&[&alone, &other], None), "a.net:1");
    // Two seeds, both without host: the one in use stays.
    let mut second = alone.clone();
    second.nodes[0]
        .announced
        .as_mut()
        .expect("one")
        .endpoint
        .host = "seed2".into();
    let in_use = merge(&[&second], None, &AddressMap::default()).topology;
    assert_eq!(endpoint(&[&alone, &second], Some(&in_use)), "seed2:1");
}

/// contract: R12
#[test]
fn every_endpoint_passes_the_address_map() {
    let rules = [("a.net:1".to_owned(), "127.0.0.1:7001".to_owned())];
    let map = AddressMap::parse(&rules).expect("a good rule");
    let topology = merge(&[&view("a:a=1 0")], None, &map).topology;
    assert_eq!(topology.nodes[0].endpoint.to_string(), "127.0.0.1:7001");
    assert_eq!(topology.nodes[0].announced.to_string(), "a.net:1");
}

#[test]
fn degraded_is_a_failed_owner_or_an_unowned_slot() {
    assert!(is_degraded(&known("a:a=1 0")));
    assert!(!is_degraded(&known("a:a=1 0-16383,r>a=1 fail")));
    assert!(is_degraded(&known("b:a=1 0-100 fail,b=2 101-16383")));
}

/// Epochs and owners after each step of a cluster's life: a node takes a slot, or all slots of
/// another node, and its epoch rises above all others.
fn history(steps: &[(usize, usize, bool)]) -> Vec<([u64; 4], [usize; 8])> {
    let (mut epochs, mut owners) = ([1, 2, 3, 4], [0, 0, 1, 1, 2, 2, 3, 3]);
    let mut states = vec![(epochs, owners)];
    for (slot, taker, takes_all) in steps {
        let loser = owners[*slot];
        if loser == *taker {
            continue;
        }
        epochs[*taker] = epochs.iter().max().expect("four") + 1;
        for (other, owner) in owners.iter_mut().enumerate() {
            if other == *slot || (*takes_all && *owner == loser) {
                *owner = *taker;
            }
        }
        states.push((epochs, owners));
    }
    states
}

fn as_view(viewer: usize, (epochs, owners): &([u64; 4], [usize; 8])) -> String {
    let names = ["a", "b", "c", "d"];
    let node = |node: usize| {
        let slots = (0..8).filter(|slot| owners[*slot] == node);
        let slots: String = slots.map(|slot| format!(" {slot}")).collect();
        format!("{}={}{slots}", names[node], epochs[node])
    };
    let nodes: Vec<String> = (0..4).map(node).collect();
    format!("{}:{}", names[viewer], nodes.join(","))
}

proptest! {
    /// However the others lag, the newest view decides, be it just fetched or known before.
    #[test]
    fn the_newest_view_wins(
        steps in proptest::collection::vec((0usize..8, 0usize..4, any::<bool>()), 1..12),
        lags in proptest::collection::btree_map(0usize..4, 0usize..12, 1..4),
        previous in 0usize..12,
    ) {
        let states = history(&steps);
        let at = |time: usize| time.min(states.len() - 1);
        let texts: Vec<String> = lags.iter().map(|(viewer, time)| as_view(*viewer, &states[at(*time)])).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let newest = lags.values().copied().chain([previous]).map(at).max().expect("one at least");
        let before = as_view(0, &states[at(previous)]);
        let merged = merged(&texts, Some(&before));
        let expected: String = states[newest].1.iter().map(|owner| ["a", "b", "c", "d"][*owner]).collect();
        prop_assert_eq!(owners(&merged.topology, 8), expected);
    }
}
