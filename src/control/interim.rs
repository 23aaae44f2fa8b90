//! A first refresher, until the real one lands.
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::ledger::{Answer, Ledger, Origin, Said, Server};
use crate::cluster::view::Answered;
use crate::cluster::view_nodes::parse_nodes;
use crate::cluster::{AddressMap, Endpoint};
use crate::resp::reply::{ReplyScanner, text};
use crate::resp::{Protocol, write};
use crate::telemetry::clock::now_us;
use crate::upstream::handshake;
use crate::worker::{RefreshRequests, TopologyCell};

async fn ask(endpoint: &Endpoint, settings: &handshake::Settings) -> Option<Said> {
    let mut stream = handshake::open(endpoint, Protocol::Resp2, settings)
        .await
        .ok()?;
    let mut out = Vec::new();
    write::command(&mut out, &["CLUSTER", "NODES"]);
    stream.write_all(&out).await.ok()?;
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Ok(Some(_)) = ReplyScanner::default().scan(&bytes) {
            break;
        }
    }
    if bytes.starts_with(b"-") {
        return Some(Said::Standalone(endpoint.clone()));
    }
    let by = Answered {
        by: endpoint,
        over_tls: false,
    };
    parse_nodes(text(&bytes)?, by).ok().map(Said::Cluster)
}

/// Refreshes for ever.
pub async fn run(
    seeds: Vec<Endpoint>,
    map: AddressMap,
    settings: handshake::Settings,
    cell: Arc<TopologyCell>,
    requests: Arc<RefreshRequests>,
) {
    let mut ledger = Ledger::new(map);
    loop {
        requests.take();
        let began_us = now_us();
        let mut endpoints: Vec<(Endpoint, Origin)> = seeds
            .iter()
            .map(|seed| (seed.clone(), Origin::Seed))
            .collect();
        if let Some(known) = ledger.known() {
            endpoints.extend(
                known
                    .nodes
                    .iter()
                    .map(|node| (node.endpoint.clone(), Origin::Learnt)),
            );
        }
        let mut answers = Vec::new();
        for (endpoint, origin) in endpoints {
            let asked = tokio::time::timeout(Duration::from_millis(300), ask(&endpoint, &settings));
            if let Ok(Some(said)) = asked.await {
                answers.push(Answer {
                    said,
                    origin,
                    server: Server::default(),
                    began_us,
                });
            }
        }
        if let Some(settled) = ledger.settle(&answers, true, now_us()) {
            let mut topology = settled.topology;
            topology.as_of_us = began_us;
            if cell
                .load()
                .is_none_or(|current| !current.same_map(&topology))
            {
                cell.publish(topology);
            }
        }
        let pause = if cell.load().is_none() { 200 } else { 5000 };
        let _ = tokio::time::timeout(Duration::from_millis(pause), requests.asked()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
