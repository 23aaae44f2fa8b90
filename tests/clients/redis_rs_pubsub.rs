//! redis-rs' subscriptions: the blocking `PubSub`, the asynchronous one, and RESP3 pushes of a
//! connection that goes on to be used for requests.
//!
//! contract: S1, P6

use std::time::Duration;

use redis::{AsyncCommands, Commands, ProtocolVersion, PushKind};

use crate::redis_rs::{PROTOCOLS, client};
use crate::scene::Scene;

#[test]
fn blocking() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let client = client(&scene.url(), protocol);
        let mut listens = client.get_connection().expect("connects");
        let mut speaks = client.get_connection().expect("connects");
        let mut pubsub = listens.as_pubsub();
        let patience = Some(Duration::from_secs(20));
        pubsub.set_read_timeout(patience).expect("a time is taken");
        // One by one: the library waits for one confirmation only, whatever it asked for.
        pubsub.subscribe("rs:a").expect("SUBSCRIBE");
        pubsub.subscribe("rs:b").expect("SUBSCRIBE");
        pubsub.psubscribe("rs:*").expect("PSUBSCRIBE");
        for number in 0..100 {
            let heard: usize = speaks.publish("rs:b", number).expect("PUBLISH");
            assert_eq!(heard, 2, "{protocol:?}");
            let mut patterns = Vec::new();
            for _ in 0..2 {
                let message = pubsub.get_message().expect("a message");
                assert_eq!(message.get_channel_name(), "rs:b");
                assert_eq!(message.get_payload::<i64>().expect("a number"), number);
                patterns.push(message.from_pattern());
            }
            patterns.sort_unstable();
            assert_eq!(patterns, [false, true]);
        }
        pubsub.unsubscribe("rs:b").expect("UNSUBSCRIBE");
        pubsub.punsubscribe("rs:*").expect("PUNSUBSCRIBE");
        let heard: usize = speaks.publish("rs:b", "nobody").expect("PUBLISH");
        assert_eq!(heard, 0);
        drop(pubsub);
        // It ends its subscriptions and is a plain connection again.
        let pong: String = redis::cmd("PING").query(&mut listens).expect("PING");
        assert_eq!(pong, "PONG");
    }
}

#[tokio::test]
async fn pushes_between_replies() {
    let scene = Scene::start();
    let client = client(&scene.url(), ProtocolVersion::RESP3);
    #[expect(clippy::disallowed_methods, reason = "what the library takes")]
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await.expect("connects");
    connection.subscribe("rspush").await.expect("SUBSCRIBE");
    for number in 0..100_i64 {
        let heard: i64 = connection.publish("rspush", number).await.expect("PUBLISH");
        assert_eq!(heard, 1);
        let stored: String = connection.set("rs:key", number).await.expect("SET");
        assert_eq!(stored, "OK");
        let got: i64 = connection.get("rs:key").await.expect("GET");
        assert_eq!(got, number);
    }
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        let push = tokio::time::timeout(Duration::from_secs(20), pushes.recv()).await;
        let push = push.expect("in time").expect("the connection is there");
        if push.kind == PushKind::Message {
            let number = push.data.get(1).cloned().expect("channel and text");
            numbers.push(redis::from_redis_value::<i64>(number).expect("a number"));
        }
    }
    assert!(numbers.into_iter().eq(0..100));
}
