use super::*;

fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn who_has_no_cluster() {
    for (reply, expected) in [
        ("ERR This instance has cluster support disabled", true),
        (
            "ERR unknown command `CLUSTER`, with args beginning with: `NODES`",
            true,
        ),
        ("ERR unknown command 'CLUSTER'", true),
        (
            "NOPERM this user has no permissions to run the 'cluster|nodes' command",
            false,
        ),
        ("LOADING Redis is loading the dataset in memory", false),
    ] {
        assert_eq!(is_without_cluster(&error(reply)), expected, "{reply}");
    }
    assert!(!is_without_cluster(&text("")));
}

#[test]
fn who_knows_no_shards() {
    for (reply, expected) in [
        (
            "ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.",
            true,
        ),
        ("ERR unknown subcommand 'SHARDS'. Try CLUSTER HELP.", true),
        (
            "NOPERM this user has no permissions to run the 'cluster|shards' command",
            false,
        ),
    ] {
        assert_eq!(is_unknown(reply), expected, "{reply}");
    }
}

#[test]
fn roles_of_standalone_servers() {
    let check = |role: Value, expected: Option<&str>| match standalone(role) {
        Ok(Heard::Standalone { follows }) => {
            assert_eq!(follows.map(|at| at.to_string()).as_deref(), expected);
        }
        Ok(Heard::Cluster(_)) => panic!("a cluster"),
        Err(error) => assert_eq!(expected, Some("sentinel"), "{error}"),
    };
    let list = |items: &[Value]| Value::List(items.to_vec());
    check(list(&[text("master"), Value::Integer(0)]), None);
    let slave = |host: &str, port| list(&[text("slave"), text(host), Value::Integer(port)]);
    check(slave("10.0.0.1", 6379), Some("10.0.0.1:6379"));
    check(slave("", 6379), None);
    check(slave("10.0.0.1", 0), None);
    check(slave("10.0.0.1", 70000), None);
    check(error("NOPERM no"), None);
    check(Value::Null, None);
    check(list(&[text("sentinel")]), Some("sentinel"));
}

#[test]
fn names_and_versions() {
    let check = |info: &str, name: &str, redis: &str, valkey: &str| {
        let server = server_of(&text(info));
        let found = (
            &*server.name,
            &*server.redis_version,
            &*server.valkey_version,
        );
        assert_eq!(found, (name, redis, valkey));
    };
    check(
        "# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n",
        "redis",
        "7.0.15",
        "",
    );
    check(
        "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n",
        "valkey",
        "7.2.4",
        "8.0.1",
    );
    check(
        "redis_version:7.2.4\nvalkey_version:7.2.5\n",
        "valkey",
        "7.2.4",
        "7.2.5",
    );
    assert_eq!(&*server_of(&error("NOPERM no")).redis_version, "");
}

#[test]
fn one_of_the_two_replies_is_enough() {
    let by: Endpoint = "seed:1".parse().expect("an endpoint");
    let answered = Answered {
        by: &by,
        over_tls: false,
    };
    let nodes = text("aa 1.1.1.1:1@2 myself,master - 0 0 7 connected 0-5");
    let empty = Value::List(Vec::new());
    let refused = error("NOPERM no");
    let listed = Value::decode(
        b"*1\r\n*3\r\n:0\r\n:5\r\n*3\r\n$7\r\n1.1.1.1\r\n:1\r\n$2\r\naa\r\n",
        Protocol::Resp2,
    );
    let listed = listed.expect("well formed");
    let count = |nodes: &Value, listed: &Value| {
        let view = view(nodes, listed, true, answered);
        view.map(|view| (view.nodes.len(), view.epoch())).ok()
    };
    assert_eq!(count(&nodes, &listed), Some((1, 7)));
    assert_eq!(count(&nodes, &refused), Some((1, 7)));
    assert_eq!(count(&nodes, &empty), Some((1, 7)));
    assert_eq!(count(&refused, &listed), Some((1, 0)));
    assert_eq!(count(&refused, &empty), None);
    assert_eq!(count(&refused, &refused), None);
    assert_eq!(count(&Value::Null, &Value::Null), None);
}
