//! `CLUSTER SHARDS`, and `CLUSTER SLOTS` for servers before Redis 7.

use super::endpoint::announced_host;
use super::value::Value;
use super::view::{Announced, Answered, Seen, SeenRole, SlotRange, View, ViewError};
use super::{Endpoint, Health};

/// Reads the reply to `CLUSTER SHARDS`.
///
/// # Errors
/// The reply is not a list of shards, each with `slots` and `nodes`.
pub fn parse_shards(reply: &Value, answered: Answered<'_>) -> Result<View, ViewError> {
    read_shards(reply, answered).map_err(|problem| ViewError {
        command: "CLUSTER SHARDS",
        problem,
    })
}

/// Reads the reply to `CLUSTER SLOTS`.
///
/// # Errors
/// The reply is not a list of slot ranges, each with its primary and replicas.
pub fn parse_slots(reply: &Value, answered: Answered<'_>) -> Result<View, ViewError> {
    read_slots(reply, answered).map_err(|problem| ViewError {
        command: "CLUSTER SLOTS",
        problem,
    })
}

fn read_shards(reply: &Value, answered: Answered<'_>) -> Result<View, &'static str> {
    let mut view = View::default();
    for shard in reply.list().ok_or("it is no list")? {
        let ranges = shard.field("slots").and_then(Value::list);
        let ranges = read_ranges(ranges.ok_or("a shard has no slots field")?)?;
        let nodes = shard.field("nodes").and_then(Value::list);
        let mut members = nodes
            .ok_or("a shard has no nodes field")?
            .iter()
            .map(|node| read_shard_node(node, answered))
            .collect::<Result<Vec<_>, _>>()?;
        give_slots(&mut members, ranges);
        for node in members {
            view.add(node)?;
        }
    }
    view.checked()
}

/// The shard's slots are its primary's. After a failover a shard can list two primaries for a
/// while; then they are those of the one in service.
fn give_slots(members: &mut [Seen], ranges: Vec<SlotRange>) {
    let is_primary = |node: &Seen| node.role == SeenRole::Primary;
    let in_service = |node: &Seen| is_primary(node) && node.health != Health::Failed;
    let owner = members
        .iter()
        .position(in_service)
        .or_else(|| members.iter().position(is_primary));
    let Some(owner) = owner else {
        return;
    };
    let id = members[owner].id.clone();
    members[owner].slots = ranges;
    for node in members {
        if let SeenRole::Replica(primary) = &mut node.role {
            *primary = Some(id.clone());
        }
    }
}

/// First and last slot in turns.
fn read_ranges(numbers: &[Value]) -> Result<Vec<SlotRange>, &'static str> {
    const WRONG: &str = "a slot range is none";
    if !numbers.len().is_multiple_of(2) {
        return Err(WRONG);
    }
    numbers
        .chunks_exact(2)
        .map(|pair| SlotRange::new(pair[0].integer()?, pair[1].integer()?))
        .collect::<Option<_>>()
        .ok_or(WRONG)
}

fn read_shard_node(node: &Value, answered: Answered<'_>) -> Result<Seen, &'static str> {
    let text = |key: &str| node.field(key).and_then(Value::text);
    let id = text("id").filter(|id| !id.is_empty());
    let mut seen = Seen::new(id.ok_or("a node has no id")?);
    seen.role = match text("role").ok_or("a node has no role")? {
        "master" | "primary" => SeenRole::Primary,
        _ => SeenRole::Replica(None),
    };
    // Redis documents `failed` and sends `fail`.
    seen.health = match text("health") {
        Some("fail" | "failed") => Health::Failed,
        Some("loading") => Health::Loading,
        _ => Health::Online,
    };
    seen.zone = text("availability-zone")
        .filter(|zone| !zone.is_empty())
        .map(Into::into);
    seen.hostname = text("hostname").and_then(announced_host);
    let port = |key: &str| {
        let number = node.field(key).and_then(Value::integer);
        number.and_then(|number| u16::try_from(number).ok())
    };
    let (plain, tls) = (port("port"), port("tls-port"));
    let port = if answered.over_tls {
        tls.or(plain)
    } else {
        plain.or(tls)
    };
    seen.announced = read_endpoint(
        node.field("endpoint").or_else(|| node.field("ip")),
        [text("ip"), text("hostname")],
        port.unwrap_or(0),
        answered,
    );
    Ok(seen)
}

/// Null and empty mean "the host you reached me at". `?` means that the preferred kind of endpoint
/// is not known; then another kind, if the reply has one, still leads to the node.
fn read_endpoint(
    preferred: Option<&Value>,
    others: [Option<&str>; 2],
    port: u16,
    answered: Answered<'_>,
) -> Option<Announced> {
    match preferred.and_then(Value::text) {
        Some("?") => others
            .into_iter()
            .flatten()
            .filter(|host| !matches!(*host, "" | "?"))
            .find_map(|host| answered.announced(host, port)),
        Some(host) => answered.announced(host, port),
        None => answered.announced("", port),
    }
}

fn read_slots(reply: &Value, answered: Answered<'_>) -> Result<View, &'static str> {
    let mut view = View::default();
    let mut places = std::collections::HashMap::new();
    for entry in reply.list().ok_or("it is no list")? {
        let entry = entry.list().ok_or("an entry is no list")?;
        let [first, last, nodes @ ..] = entry else {
            return Err("an entry has no slot range");
        };
        let range = match (first.integer(), last.integer()) {
            (Some(first), Some(last)) => SlotRange::new(first, last),
            _ => None,
        };
        let range = range.ok_or("a slot range is none")?;
        let mut primary = None;
        for node in nodes {
            let mut seen = read_slots_node(node, answered)?;
            match &primary {
                None => primary = Some(seen.id.clone()),
                Some(primary) => seen.role = SeenRole::Replica(Some(primary.clone())),
            }
            let is_primary = seen.role == SeenRole::Primary;
            let place = match places.get(&seen.id) {
                Some(place) => *place,
                None => {
                    let place = view.nodes.len();
                    places.insert(seen.id.clone(), place);
                    view.add(seen)?;
                    place
                }
            };
            if is_primary {
                view.nodes[place].role = SeenRole::Primary;
                view.nodes[place].slots.push(range);
            }
        }
    }
    view.checked()
}

/// `[endpoint, port, id, [name, value ...]]`; the id since Redis 4, the names since Redis 7.
fn read_slots_node(node: &Value, answered: Answered<'_>) -> Result<Seen, &'static str> {
    let parts = node.list().ok_or("a node is no list")?;
    let [preferred, port, rest @ ..] = parts else {
        return Err("a node has no port");
    };
    let port = port.integer().and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or("a port is none")?;
    let other = |key: &str| rest.get(1)?.field(key)?.text();
    let announced = read_endpoint(
        Some(preferred),
        [other("ip"), other("hostname")],
        port,
        answered,
    );
    let id = match (rest.first().and_then(Value::text), &announced) {
        (Some(id), _) if !id.is_empty() => id.to_owned(),
        (_, Some(Announced { endpoint, .. })) => Endpoint::to_string(endpoint),
        (_, None) => return Err("a node has neither id nor endpoint"),
    };
    let mut seen = Seen::new(&id);
    seen.announced = announced;
    seen.hostname = other("hostname").and_then(announced_host);
    Ok(seen)
}
