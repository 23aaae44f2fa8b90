//! What `HELLO` answers: the words of the cluster's servers, as one standalone server would say them.

use crate::client::Session;
use crate::cluster::Topology;
use crate::cluster::value::Value;
use crate::resp::{Protocol, write};

/// The reply of a standalone server of the cluster's version (contract: C3).
pub(super) fn write(session: &Session, topology: Option<&Topology>, out: &mut Vec<u8>) {
    /// What is said before a server was asked: the oldest version whose replies Keyway gives.
    const UNKNOWN_VERSION: &str = "7.0.0";
    let greeting = topology.map(|topology| &*topology.greeting);
    let (server, version, modules) = match greeting {
        Some(greeting) if !greeting.version.is_empty() => {
            (&*greeting.server, &*greeting.version, &*greeting.modules)
        }
        _ => ("redis", UNKNOWN_VERSION, &[][..]),
    };
    write::map(out, session.protocol, 7);
    for (name, value) in [("server", server), ("version", version)] {
        write::bulk(out, name.as_bytes());
        write::bulk(out, value.as_bytes());
    }
    write::bulk(out, b"proto");
    write::integer(
        out,
        match session.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
    );
    write::bulk(out, b"id");
    write::integer(out, i64::try_from(session.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        write::bulk(out, name.as_bytes());
        write::bulk(out, value.as_bytes());
    }
    write::bulk(out, b"modules");
    write_modules(modules, session.protocol, out);
}

/// As the servers list them: each a map of texts, numbers and its arguments.
fn write_modules(modules: &[Value], protocol: Protocol, out: &mut Vec<u8>) {
    write::array(out, modules.len());
    for module in modules {
        let fields = module.list().unwrap_or_default().chunks_exact(2);
        write::map(out, protocol, fields.len());
        for value in fields.flatten() {
            value.write(protocol, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::acl::Door;
    use crate::cluster::{Greeting, Mode};

    const WITH_MODULE: &str = "*14\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n9.1.2\r\n\
        $5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
        $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n*8\r\n$4\r\nname\r\n$3\r\nlua\r\n\
        $3\r\nver\r\n:1\r\n$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*1\r\n$1\r\nx\r\n";

    /// contract: C3, P1
    #[test]
    fn it_is_what_the_servers_say() {
        let reply = Value::decode(WITH_MODULE.as_bytes(), Protocol::Resp2).expect("a reply");
        let mut topology = Topology::new(Mode::Cluster, Vec::new());
        topology.greeting = Arc::new(Greeting::of_reply(&reply));
        let mut session = Session::new(7, "10.0.0.9:5", "10.0.0.2:6379", &Door::default(), 0);
        let mut heard = Vec::new();
        write(&session, Some(&topology), &mut heard);
        assert_eq!(String::from_utf8_lossy(&heard), WITH_MODULE);

        session.protocol = Protocol::Resp3;
        heard.clear();
        write(&session, Some(&topology), &mut heard);
        let maps = WITH_MODULE
            .replace("*14\r\n", "%7\r\n")
            .replace("*8\r\n", "%4\r\n");
        let expected = maps.replace("proto\r\n:2", "proto\r\n:3");
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }

    #[test]
    fn nothing_is_known_before_a_server_was_asked() {
        let session = Session::new(7, "10.0.0.9:5", "10.0.0.2:6379", &Door::default(), 0);
        let mut heard = Vec::new();
        write(&session, None, &mut heard);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.contains("$5\r\nredis\r\n"), "{heard}");
        assert!(heard.ends_with("$7\r\nmodules\r\n*0\r\n"), "{heard}");
    }
}
