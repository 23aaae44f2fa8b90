//! Which replicas may serve reads, case by case.

use super::*;
use crate::cluster::{Node, Slot};

fn at(number: u8) -> Endpoint {
    Endpoint {
        host: format!("10.0.0.{number}").into(),
        port: 6379,
    }
}

/// Node 0 is the primary of all slots, node 1 its replica.
fn topology() -> Topology {
    let node = |number: u8, role| Node {
        id: format!("{number:040}").into(),
        endpoint: at(number),
        announced: at(number),
        role,
        health: Health::Online,
        config_epoch: 1,
        hostname: None,
        zone: None,
    };
    let nodes = vec![node(0, Role::Primary), node(1, Role::Replica(NodeIndex(0)))];
    let mut topology = Topology::new(Mode::Cluster, nodes);
    topology.assign(Slot::new(0).expect("a slot"), NodeIndex(0));
    topology
}

fn demands() -> Demands {
    Demands {
        lag_max: Duration::from_secs(10),
        silence_max: Duration::from_secs(2),
        own_zone: Some("a".into()),
        zones: Zones::parse(&[("10.0.0.0/31".to_owned(), "a".to_owned())]).expect("right"),
    }
}

fn primary(offset: u64) -> Replication {
    Replication {
        history: "one".into(),
        offset,
        ..Replication::default()
    }
}

fn replica(offset: u64) -> Replication {
    Replication {
        is_replica: true,
        is_link_up: true,
        ..primary(offset)
    }
}

struct Scene {
    judge: Judge,
    topology: Topology,
    began: Instant,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            judge: Judge::default(),
            topology: topology(),
            began: Instant::now(),
        }
    }

    fn hear(&mut self, second: u64, node: u8, said: Replication) {
        let asked_at = self.began + Duration::from_secs(second);
        self.judge.hear(&at(node), asked_at, said);
    }

    #[track_caller]
    fn expect(&self, second: u64, expected: Option<LeftOut>) {
        let now = self.began + Duration::from_secs(second);
        let judgement = self.judge.judge(&self.topology, &demands(), now);
        assert_eq!(judgement.replicas, [(at(1), expected)]);
        let fitness = match expected {
            None => Fitness::Fit,
            Some(LeftOut::CutOff) => Fitness::CutOff,
            Some(_) => Fitness::Unfit,
        };
        assert_eq!(judgement.facts.0[&at(1)].fitness, fitness);
    }
}

#[test]
fn a_replica_serves_once_it_has_what_its_primary_had() {
    let mut scene = Scene::new();
    scene.expect(0, Some(LeftOut::Silent));
    scene.hear(0, 1, replica(50));
    scene.expect(0, Some(LeftOut::Unknown));
    scene.hear(0, 0, primary(100));
    scene.expect(0, Some(LeftOut::Lagging));
    scene.hear(1, 1, replica(100));
    scene.expect(1, None);
    scene.expect(4, Some(LeftOut::Silent));
}

#[test]
fn lag_is_the_age_of_what_it_has() {
    let mut scene = Scene::new();
    for second in 0..=12 {
        scene.hear(second, 0, primary(100 * second + 100));
        // It stands still at what the primary had in second 1.
        scene.hear(second, 1, replica(250));
        let expected = (second > 11).then_some(LeftOut::Lagging);
        if second > 1 {
            scene.expect(second, expected);
        }
    }
    scene.hear(13, 1, replica(1300));
    scene.expect(13, None);
}

#[test]
fn without_writes_nobody_is_behind() {
    let mut scene = Scene::new();
    for second in 0..100 {
        scene.hear(second, 0, primary(100));
        scene.hear(second, 1, replica(100));
    }
    assert_eq!(scene.judge.primaries[&at(0)].samples.len(), 1);
    scene.expect(99, None);
}

#[test]
fn a_primary_that_is_silent_makes_its_replicas_old() {
    let mut scene = Scene::new();
    scene.hear(0, 0, primary(100));
    for second in 0..=11 {
        let mut said = replica(100);
        said.is_link_up = second < 5;
        scene.hear(second, 1, said);
        scene.expect(
            second,
            match second {
                0..5 => None,
                5..=10 => Some(LeftOut::CutOff),
                _ => Some(LeftOut::LinkDown),
            },
        );
    }
}

#[test]
fn what_else_leaves_a_replica_out() {
    let other = Replication {
        history: "two".into(),
        ..replica(100)
    };
    let syncing = Replication {
        is_link_up: false,
        is_syncing: true,
        ..replica(100)
    };
    for (said, expected) in [
        (replica(100), None),
        (other, Some(LeftOut::OtherHistory)),
        (syncing, Some(LeftOut::Loading)),
        (primary(100), Some(LeftOut::NoReplica)),
    ] {
        let mut scene = Scene::new();
        scene.hear(0, 0, primary(100));
        scene.hear(0, 1, said);
        scene.expect(0, expected);
        scene.topology.nodes[1].health = Health::Failed;
        scene.expect(0, Some(LeftOut::Failed));
    }
}

#[test]
fn a_primary_that_lost_its_data_begins_anew() {
    let mut scene = Scene::new();
    scene.hear(0, 0, primary(100));
    scene.hear(1, 0, primary(0));
    scene.hear(1, 1, replica(50));
    assert_eq!(scene.judge.primaries[&at(0)].samples.len(), 1);
    scene.expect(1, None);
}

#[test]
fn zones_come_from_the_configuration_the_topology_or_the_node() {
    let mut scene = Scene::new();
    let near = |scene: &Scene, demands: &Demands| {
        let judgement = scene.judge.judge(&scene.topology, demands, scene.began);
        [0, 1].map(|number| judgement.facts.0[&at(number)].is_near)
    };
    assert_eq!(near(&scene, &demands()), [true, true]);
    let bare = Demands {
        zones: Zones::default(),
        ..demands()
    };
    assert_eq!(near(&scene, &bare), [false, false]);
    scene.topology.nodes[0].zone = Some("a".into());
    let mut said = replica(0);
    said.zone = Some("a".into());
    scene.hear(0, 1, said);
    assert_eq!(near(&scene, &bare), [true, true]);
    scene.topology.nodes[1].zone = Some("b".into());
    assert_eq!(near(&scene, &bare), [true, false]);
    let nowhere = Demands {
        own_zone: None,
        ..bare
    };
    assert_eq!(near(&scene, &nowhere), [false, false]);
}

#[test]
fn what_servers_say() {
    let of_primary = "# Replication\r\nrole:master\r\nconnected_slaves:1\r\nmaster_replid:583a\r\nmaster_repl_offset:42\r\nsecond_repl_offset:-1\r\n";
    let expected = Replication {
        history: "583a".into(),
        offset: 42,
        ..Replication::default()
    };
    assert_eq!(Replication::parse(of_primary, ""), Some(expected));
    let of_replica = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\nslave_read_repl_offset:43\r\nslave_repl_offset:42\r\nmaster_replid:583a\r\nmaster_repl_offset:44\r\n";
    let server = "# Server\r\navailability_zone:az-1\r\n";
    let expected = Replication {
        is_replica: true,
        is_link_up: true,
        is_syncing: false,
        history: "583a".into(),
        offset: 42,
        zone: Some("az-1".into()),
    };
    assert_eq!(Replication::parse(of_replica, server), Some(expected));
    assert_eq!(Replication::parse("", ""), None);
    assert_eq!(Replication::parse("role:sentinel\r\n", ""), None);
}
