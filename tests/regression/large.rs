//! Replies that come in pieces: what they do to those around them. With thresholds of a few bytes, so that a
//! reply of twenty is large.

use keyway::pipeline::ClientKey;
use keyway::resp::Protocol;
use keyway::routing::NodeKey;
use keyway::upstream::{Connection, Phase, Role};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::scene::{Scene, TIMEOUT_US};

fn scene(stream_buffer_bytes: usize) -> Scene {
    let mut scene = Scene::new();
    scene.core.limits.stream_threshold_bytes = 8;
    scene.core.limits.stream_buffer_bytes = stream_buffer_bytes;
    scene.core.limits.bulk_connections = 1;
    scene
}

impl Scene {
    pub fn connection(&self, key: ConnectionKey) -> &Connection {
        &self.core.connections[key.0 as usize]
    }

    /// Bytes of a reply, of which more may follow.
    pub fn node_begins(&mut self, key: ConnectionKey, bytes: &str) {
        let connection = self.core.connections.get_mut(key.0 as usize);
        let connection = connection.expect("it is open");
        connection.input.extend(bytes.as_bytes());
        self.core.receive_replies(key).expect("part of a reply");
    }

    /// A large reply, in two pieces.
    pub fn node_says_much(&mut self, key: ConnectionKey) {
        self.node_begins(key, "$20\r\n0123456789");
        self.node_begins(key, "0123456789\r\n");
    }

    /// The same client's requests on one connection, the later one first: the earlier one was redirected.
    /// Another one's stands before both.
    fn out_of_order(&mut self, first: &str) -> (ClientKey, ConnectionKey) {
        let (client, other) = (self.client(), self.client());
        self.says(other, first);
        let second = self.open();
        self.wrote(second);
        self.says(client, "GET {b}1");
        let node = self.open();
        self.says(client, "GET {a}1");
        self.wrote(node);
        self.wrote(second);
        self.node_says(node, "-MOVED 3300 10.0.0.2:6379");
        assert_eq!(self.wrote(second), "GET {b}1");
        (client, second)
    }
}

/// The time of a request whose reply is large began anew for as long as earlier replies were missing, and not
/// only while its client took them: it was answered after twice its time (simulation seeds 2547, 3425, 3974,
/// 4154, 4346, 5716, 7396). contract: F5
#[test]
fn a_large_reply_behind_a_missing_one_ends_in_time() {
    let mut scene = scene(0);
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "GET {b}1");
    let silent = scene.open();
    scene.says(client, "GET {a}1");
    let node = scene.open();
    scene.says(other, "GET {a}2");
    scene.wrote(silent);
    scene.wrote(node);
    scene.node_says_much(node);
    for _ in 0..13 {
        scene.pass(TIMEOUT_US / 10);
    }
    scene.expect_output(
        client,
        &["did not answer 'get'", "large", "was not executed"],
    );
}

/// What stands behind a large reply that its client takes slowly is not late, also when it waits for another
/// one on the same slot.
#[test]
fn nobody_is_late_behind_a_reply_that_is_taken_slowly() {
    let mut scene = scene(0);
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "GET {a}1");
    scene.says(client, "GET {a}2");
    scene.says(client, "GET {a}3");
    scene.says(other, "SET {a}4 x");
    let node = scene.open();
    scene.wrote(node);
    for _ in 0..3 {
        scene.node_says_much(node);
    }
    scene.node_says(node, "+OK");
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "GET {a}1");
    scene.node_begins(bulk, "$20\r\n01234");
    for second in 0..30 {
        scene.node_begins(bulk, if second < 15 { "x" } else { "" });
        scene.pass(TIMEOUT_US / 10);
    }
    scene.node_begins(bulk, "\r\n");
    assert_eq!(scene.hears(client), "$20 01234xxxxxxxxxxxxxxx");
    for _ in 0..3 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert_eq!(scene.wrote(bulk), "GET {a}2");
}

/// A reply was left unread until its client had taken it, and what that client has to hear first stood behind
/// it (simulation seeds 1310, 3661). contract: F5
#[test]
fn a_reply_is_not_left_unread_before_an_earlier_one() {
    let mut scene = scene(0);
    // Cannot be fetched again, so its connection is given away although others wait.
    let (client, second) = scene.out_of_order("GETDEL {a}9");
    scene.node_says_much(second);
    assert_eq!(scene.connection(second).role, Role::Bulk);
    scene.node_begins(second, "$20\r\n0123456789");
    let passing = scene.connection(second).passing.as_ref();
    let passing = passing.expect("it comes in pieces");
    assert!(passing.to.is_none(), "it is fetched again in its turn");
    scene.node_begins(second, "0123456789\r\n");
    scene.node_says(second, "$1\r\nb");
    assert_eq!(scene.hears(client), "$1 b");
    scene.pass(10_000);
    assert_eq!(scene.wrote(second), "GET {a}1");
    scene.node_says_much(second);
    assert_eq!(scene.hears(client), "$20 01234567890123456789");
}

/// The same, when a reply turned out larger than the room that was reserved for it (simulation seed 4462).
#[test]
fn a_reply_that_grows_is_not_left_unread_before_an_earlier_one() {
    let mut scene = scene(60);
    let (client, second) = scene.out_of_order("SET {a}9 x");
    scene.node_says(second, "+OK");
    scene.node_begins(second, "*3\r\n$1\r\na\r\n");
    scene.node_begins(second, &format!("$100\r\n{}", "x".repeat(90)));
    let connection = scene.connection(second);
    assert_eq!(connection.role, Role::Shared);
    let passing = connection.passing.as_ref().expect("it comes in pieces");
    assert!(passing.room.is_some(), "it is read on");
    scene.node_begins(second, &format!("{}\r\n$1\r\nc\r\n", "x".repeat(10)));
    scene.node_says(second, "$1\r\nb");
    let heard = scene.hears(client);
    assert!(heard.starts_with("$1 b *3 $1 a $100 xx"), "{heard}");
}

/// Connections that were given away while others waited count as connections for large things; whoever waited for
/// one of the other version saw one of them closed with each attempt, until its deadline (simulation seeds 2222,
/// 4595, 6942, 6976, 7622).
#[test]
fn idle_connections_make_room_at_once() {
    let mut scene = scene(0);
    let (client, other) = (scene.client(), scene.client());
    let mut given_away = Vec::new();
    for _ in 0..4 {
        scene.says(client, "GETDEL {a}1");
        scene.says(other, "SET {a}2 x");
        let node = scene.open();
        scene.wrote(node);
        scene.node_says_much(node);
        scene.node_says(node, "+OK");
        given_away.push(node);
    }
    let of_three = scene.client();
    scene.says(of_three, "HELLO 3");
    scene.hears(of_three);
    scene.says(of_three, "GET {a}1");
    let another = scene.client();
    scene.says(another, "HELLO 3");
    scene.says(another, "SET {a}2 x");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says_much(node);
    for key in given_away {
        assert_eq!(scene.connection(key).phase, Phase::Closed);
        scene.core.connection_lost(key, Loss::Lost, "closed");
    }
    scene.pass(10_000);
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "GET {a}1");
}

/// A connection that was given away is closed when it is one too many, also when nobody waits.
#[test]
fn connections_for_large_things_are_no_more_than_may_be() {
    let mut scene = scene(0);
    let (client, other) = (scene.client(), scene.client());
    let mut given_away = Vec::new();
    for _ in 0..3 {
        scene.says(client, "GETDEL {a}1");
        scene.says(other, "SET {a}2 x");
        let node = scene.open();
        scene.wrote(node);
        scene.node_says_much(node);
        scene.node_says(node, "+OK");
        given_away.push(node);
    }
    scene.pass(200_000);
    let open = given_away
        .iter()
        .filter(|key| scene.connection(**key).phase == Phase::Ready);
    assert_eq!(open.count(), 1);
}

/// The same, when the earlier request waits for those behind that reply (simulation seed 14281).
#[test]
fn a_reply_is_not_left_unread_before_what_an_earlier_request_waits_for() {
    let mut scene = scene(0);
    let client = scene.client();
    for key in 1..5 {
        scene.says(client, &format!("GET {{a}}{key}"));
    }
    let node = scene.open();
    scene.wrote(node);
    // It waits until the others are answered, and would overtake none of them.
    scene.node_says(
        node,
        "-TRYAGAIN Multiple keys request during rehashing of slot",
    );
    scene.node_begins(node, "$20\r\n0123456789");
    let passing = scene.connection(node).passing.as_ref();
    let passing = passing.expect("it comes in pieces");
    assert!(passing.to.is_none(), "it is fetched again in its turn");
}

/// A message of the node's own, cut, was dropped as the reply that nobody wants, and every later reply was taken
/// for another one's (simulation seed 15186). contract: F3 P6
#[test]
fn a_message_is_not_the_reply_that_nobody_wants() {
    let mut scene = scene(0);
    let client = scene.client();
    scene.says(client, "HELLO 3");
    scene.hears(client);
    scene.says(client, "GET {a}1");
    let node = scene.open();
    let slot = 15495;
    scene.wrote(node);
    scene.node_says(node, &format!("-ASK {slot} 10.0.0.1:6379"));
    let importing = scene.open();
    assert_eq!(scene.wrote(importing), "ASKING GET {a}1");
    scene.node_begins(importing, ">2\r\n$10\r\ninvali");
    scene.node_begins(importing, "date\r\n_\r\n+OK\r\n$1\r\nx\r\n");
    scene.expect_output(client, &["$1 x"]);
}

/// The time stands still while a client takes a large reply, and not longer: what stood behind a reply that came
/// late and was taken at once had all its time anew (simulation seed 13858). contract: F5
#[test]
fn what_stands_behind_a_late_large_reply_is_late_as_well() {
    let mut scene = scene(0);
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "GETDEL {a}1");
    scene.says(client, "GET {a}2");
    scene.says(other, "GET {a}3");
    let node = scene.open();
    scene.wrote(node);
    for _ in 0..8 {
        scene.pass(TIMEOUT_US / 10);
    }
    scene.node_says_much(node);
    scene.hears(client);
    for _ in 0..4 {
        scene.pass(TIMEOUT_US / 10);
    }
    scene.expect_output(client, &["did not answer 'get'"]);
}

/// A connection for reads from a replica that was given away was used again, for writes, and for reads that belong to
/// the primary (simulation of requests in pieces, seed 32).
#[test]
fn a_connection_for_reads_is_not_used_for_anything_else() {
    for (role, is_usable) in [(Role::Shared, true), (Role::Read, false)] {
        let mut connection = Connection::new(NodeKey(0), Protocol::Resp2, role);
        connection.phase = Phase::Ready;
        connection.role = Role::Bulk;
        assert_eq!(connection.is_idle_bulk(), is_usable, "{role:?}");
    }
}

/// Replies that came in pieces did not count as large ones: a new client asked for all it wanted at once beside them,
/// a thousand such clients for more than a connection carries in seconds. contract: F6 P8
#[test]
fn a_reply_in_pieces_is_a_large_one_for_new_clients() {
    let mut scene = scene(0);
    scene.core.limits.client_output_soft_bytes = 160;
    scene.core.limits.first_reply_bytes = 20;
    let client = scene.client();
    scene.says(client, "GET {a}1");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says_much(node);
    assert_eq!(scene.hears(client), "$20 01234567890123456789");
    let new = scene.client();
    for _ in 0..20 {
        scene.says(new, "GET {a}2");
    }
    let node = scene.open();
    assert_eq!(scene.wrote(node).matches("GET").count(), 8);
}

/// Before anybody had a large reply, new clients asked for all they wanted at once: ten of them, and a small request
/// waited behind half a gigabyte. contract: F6 P8
#[test]
fn a_new_client_asks_for_little_until_it_is_known_how_long_replies_are() {
    let mut scene = Scene::new();
    let client = scene.client();
    for _ in 0..99 {
        scene.says(client, "GET {a}1");
    }
    let node = scene.open();
    assert_eq!(scene.wrote(node).matches("GET").count(), 64);
    scene.node_says(node, "$1\r\nx");
    for _ in 0..30 {
        scene.says(client, "GET {a}1");
    }
    assert_eq!(scene.wrote(node).matches("GET").count(), 30);
}
