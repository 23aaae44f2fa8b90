//! What happens next: anything, then everything is mended and must come to rest.

use fastrand::Rng;

use super::client;
use super::link;
use super::summary::Summary;
use super::world::{Life, World};

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Run,
    Ask,
    Send,
    Read,
    Join,
    Leave,
    HangUp,
    Note,
    Dial,
    Work,
    Lose,
    StartMove,
    MoveKey,
    FinishMove,
    AbortMove,
    Gossip,
    FailOver,
    Crash,
    Restart,
    Hang,
    Wake,
    Loading,
    NoCluster,
    Refuse,
    Survey,
    Publish,
    Jump,
}

/// How often each happens, in an ordinary run.
const EVENTS: &[(Event, u32)] = &[
    (Event::Run, 2500),
    (Event::Ask, 300),
    (Event::Send, 500),
    (Event::Read, 400),
    (Event::Join, 20),
    (Event::Leave, 8),
    (Event::HangUp, 5),
    (Event::Note, 50),
    (Event::Dial, 200),
    (Event::Work, 1500),
    (Event::Lose, 25),
    (Event::StartMove, 120),
    (Event::MoveKey, 150),
    (Event::FinishMove, 80),
    (Event::AbortMove, 15),
    (Event::Gossip, 60),
    (Event::FailOver, 25),
    (Event::Crash, 8),
    (Event::Restart, 40),
    (Event::Hang, 12),
    (Event::Wake, 40),
    (Event::Loading, 12),
    (Event::NoCluster, 12),
    (Event::Refuse, 10),
    (Event::Survey, 40),
    (Event::Publish, 40),
    (Event::Jump, 40),
];

/// How often what is not everyday happens in one run; each run has its own character.
fn character(rng: &mut Rng) -> Vec<(Event, u32)> {
    let mut events = EVENTS.to_vec();
    for (event, weight) in &mut events {
        let is_everyday = matches!(
            event,
            Event::Run | Event::Ask | Event::Send | Event::Read | Event::Dial | Event::Work
        );
        let factor = if is_everyday {
            rng.u32(2..9)
        } else {
            [0, 2, 4, 20][rng.usize(..4)]
        };
        *weight *= factor;
    }
    events
}

fn draw(rng: &mut Rng, events: &[(Event, u32)]) -> Event {
    let total: u32 = events.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.u32(..total);
    for (event, weight) in events {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *event,
        }
    }
    Event::Run
}

/// One whole run.
///
/// # Errors
/// The promise that was broken.
pub fn live(seed: u64, wants_trace: bool, life: Life) -> Result<Summary, String> {
    let mut world = World::new(seed, wants_trace, life);
    let events = character(&mut world.rng);
    let steps = world.rng.usize(50..2000);
    let pace_us = [5, 50, 500, 2000][world.rng.usize(..4)];
    for _ in 0..world.rng.usize(1..6) {
        world.join();
    }
    if world.rng.u8(..4) > 0 {
        world.survey(true);
        world.publish();
    }
    for _ in 0..steps {
        let us = world.rng.u64(..pace_us);
        world.pass(us);
        let event = draw(&mut world.rng, &events);
        step(&mut world, event)?;
    }
    rest(&mut world)?;
    Ok(Summary::of(&world))
}

fn any_client(world: &mut World) -> Option<usize> {
    let here: Vec<usize> = (0..world.clients.len())
        .filter(|index| !world.clients[*index].is_done)
        .collect();
    (!here.is_empty()).then(|| here[world.rng.usize(..here.len())])
}

fn any_link(world: &mut World, is_fit: impl Fn(&link::Link) -> bool) -> Option<usize> {
    let fit: Vec<usize> = (0..world.links.len())
        .filter(|index| is_fit(&world.links[*index]))
        .collect();
    (!fit.is_empty()).then(|| fit[world.rng.usize(..fit.len())])
}

fn step(world: &mut World, event: Event) -> Result<(), String> {
    match event {
        Event::Run => {
            let woken = world.woken();
            if !woken.is_empty() {
                let task = woken[world.rng.usize(..woken.len())];
                return world.run(task);
            }
        }
        Event::Ask => {
            if let Some(index) = any_client(world) {
                let count = [1, 2, 5, 20][world.rng.usize(..4)];
                let client = &mut world.clients[index];
                if client.unanswered() < 60 {
                    client.ask(&mut world.rng, count, &world.tags);
                }
            }
        }
        Event::Send | Event::Read => {
            let index = world.rng.usize(..world.clients.len());
            let count = [3, 40, 2000][world.rng.usize(..3)];
            let count = world.rng.usize(..count);
            match event {
                Event::Send => world.clients[index].send(count),
                _ => world.read(index, count)?,
            }
        }
        Event::Join => {
            if world
                .clients
                .iter()
                .filter(|client| !client.is_done)
                .count()
                < 6
            {
                world.join();
            }
        }
        Event::Leave => {
            if let Some(index) = any_client(world) {
                world.clients[index].leave(&mut world.rng, &world.tags);
            }
        }
        Event::HangUp => {
            if let Some(index) = any_client(world) {
                world.clients[index].hang_up();
            }
        }
        Event::Note => world.answer_note(),
        Event::Dial => {
            let dialled = |link: &link::Link| matches!(link.task, link::Task::Dialling(_));
            if let Some(index) = any_link(world, dialled) {
                world.dial(index);
            }
        }
        Event::Work => {
            if let Some(index) = any_link(world, link::Link::has_work) {
                let most = [1, 3, 50, 10_000][world.rng.usize(..4)];
                world.work(index, most);
            }
        }
        Event::Lose => {
            let served = |link: &link::Link| matches!(link.task, link::Task::Serving(_));
            if let Some(index) = any_link(world, served) {
                world.work(index, 50);
                world.lose(index);
            }
        }
        Event::Survey => world.survey(false),
        Event::Publish => world.publish(),
        Event::Jump => {
            let us = world.rng.u64(..60_000);
            world.pass(us);
        }
        _ => trouble(world, event),
    }
    world.check()
}

/// What happens to the nodes.
fn trouble(world: &mut World, event: Event) {
    let rng = &mut world.rng;
    let cluster = &mut world.cluster;
    let any = cluster.any(rng, |_| true).unwrap_or(0);
    let other = cluster.any(rng, |node| node.index != any);
    let node = &mut cluster.nodes[any];
    let told = match event {
        Event::StartMove => cluster.start_move(rng),
        Event::MoveKey => cluster.move_key(rng),
        Event::FinishMove => cluster.finish_move(rng),
        Event::AbortMove => cluster.abort_move(rng),
        Event::FailOver => cluster.fail_over(rng),
        Event::Gossip => {
            if let Some(other) = other
                && cluster.nodes[other].is_alive
            {
                cluster.gossip(other, any);
            }
            None
        }
        Event::Crash => {
            node.is_alive = false;
            crash(world, any);
            Some(format!("node {any} crashes"))
        }
        Event::Restart => {
            let was_dead = !node.is_alive;
            node.is_alive = true;
            was_dead.then(|| format!("node {any} is back"))
        }
        Event::Hang => {
            node.is_hung = true;
            Some(format!("node {any} hangs"))
        }
        Event::Wake => {
            let was_hung = std::mem::take(&mut node.is_hung);
            was_hung.then(|| format!("node {any} goes on"))
        }
        Event::Loading => {
            node.is_loading = !node.is_loading;
            Some(format!("node {any} loading: {}", node.is_loading))
        }
        Event::NoCluster => {
            node.sees_no_cluster = !node.sees_no_cluster;
            Some(format!(
                "node {any} without a cluster: {}",
                node.sees_no_cluster
            ))
        }
        Event::Refuse => {
            node.is_refusing = !node.is_refusing;
            node.refusals = rng.u8(..8);
            Some(format!("node {any} refusing: {}", node.is_refusing))
        }
        _ => None,
    };
    if let Some(told) = told {
        world.trace(|| told);
    }
}

fn crash(world: &mut World, node: usize) {
    for index in 0..world.links.len() {
        let link = &world.links[index];
        if link.node == node {
            match link.task {
                link::Task::Serving(_) => world.lose(index),
                link::Task::Orphan => world.links[index].task = link::Task::Over,
                link::Task::Dialling(_) | link::Task::Over => {}
            }
        }
    }
}

/// Everything is mended: all must be answered in time, and come to rest.
fn rest(world: &mut World) -> Result<(), String> {
    world.trace(|| "everything is mended".to_owned());
    let rng = &mut world.rng;
    for node in &mut world.cluster.nodes {
        node.is_alive = true;
        node.is_hung = false;
        node.is_loading = false;
        node.is_refusing = false;
        node.sees_no_cluster = false;
    }
    for _ in 0..1000 {
        world.cluster.finish_move(rng);
    }
    let count = world.cluster.nodes.len();
    for pair in 0..count * count * 2 {
        world.cluster.gossip(pair / count % count, pair % count);
    }
    let patience_us = world.core.limits.request_timeout_us + 1_000_000;
    let until_us = world.core.now_us + patience_us;
    let mut next_survey_us = 0;
    loop {
        if world.core.now_us >= next_survey_us {
            next_survey_us = world.core.now_us + 100_000;
            world.survey(true);
            while !world.surveys.is_empty() {
                world.publish();
            }
        }
        turn_all(world)?;
        let is_quiet = world.woken().is_empty() && is_settled(world) && !is_anyone_sending(world);
        if is_quiet {
            break;
        }
        if world.core.now_us > until_us {
            return Err(unsettled(world));
        }
        // Also when all is slow, what was woken runs before time passes.
        let is_idle =
            world.woken().is_empty() && world.clients.iter().all(client::Client::is_read_up);
        let us = if is_idle { 2_000 } else { 1 };
        world.pass(us);
    }
    for client in &mut world.clients {
        client.is_done = true;
    }
    for _ in 0..1000 {
        if world.core.clients.is_empty() {
            break;
        }
        turn_all(world)?;
        world.pass(1);
    }
    if !world.core.clients.is_empty() {
        let clients = world.core.clients.iter_mut();
        let left: Vec<String> = clients
            .map(|(key, client)| {
                format!(
                    "{key:?} {:?} is sending {:?}, is stalled {}",
                    client.phase, client.upload, client.is_stalled
                )
            })
            .collect();
        return Err(format!("clients do not leave: {left:?}"));
    }
    world.check()?;
    if world.tallies.in_flight.value() + world.tallies.parked.value() > 0 {
        return Err("something is in flight when all is settled".to_owned());
    }
    for client in &world.clients {
        world.oracle.judge(client)?;
    }
    Ok(())
}

fn turn_all(world: &mut World) -> Result<(), String> {
    for index in 0..world.clients.len() {
        world.clients[index].send(usize::MAX);
        world.read(index, usize::MAX)?;
    }
    for task in world.woken() {
        world.run(task)?;
    }
    for index in 0..world.links.len() {
        world.dial(index);
        if world.links[index].has_work() {
            world.work(index, 100_000);
        }
    }
    world.answer_note();
    Ok(())
}

/// Nobody waits for the reply to a request that is muted, but it is under way.
fn is_anyone_sending(world: &mut World) -> bool {
    let mut clients = world.core.clients.iter_mut();
    clients.any(|(_, client)| client.upload.is_some())
}

fn is_settled(world: &World) -> bool {
    world.links.iter().all(|link| !link.has_work())
        && world.clients.iter().all(|client| match client.task {
            client::Task::Left => true,
            client::Task::Settling => false,
            client::Task::Serving(_) => {
                client.is_deaf || client.has_sent_all() && client.is_heard()
            }
        })
        && world.tallies.in_flight.value() + world.tallies.parked.value() == 0
}

fn unsettled(world: &World) -> String {
    let clients = world.clients.iter().filter(|client| !client.is_heard());
    let waiting: Vec<String> = clients.map(client::Client::describe).collect();
    format!(
        "not settled though all is well; in flight {}, parked {}, waiting: {waiting:?}; connections: {:?}; moves: {:?}",
        world.tallies.in_flight.value(),
        world.tallies.parked.value(),
        world
            .core
            .connections
            .iter()
            .filter(|(_, connection)| !connection.in_flight.is_empty())
            .map(|(index, connection)| (
                index,
                connection.role,
                connection.phase,
                connection.in_flight.len()
            ))
            .collect::<Vec<_>>(),
        world
            .cluster
            .nodes
            .iter()
            .map(|node| (&node.migrating, &node.importing))
            .collect::<Vec<_>>(),
    )
}
