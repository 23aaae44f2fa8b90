//! What is right key by key and wrong together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::kind::{HostPort, IdentityMode, ReadPolicy, TlsAuthClients, TlsClientUser};
use super::settings::{ListenSettings, Settings};

impl Settings {
    /// Every contradiction, as a message.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut refuse = |is_wrong: bool, reason: &str| {
            if is_wrong {
                found.push(reason.to_owned());
            }
        };
        let (listen, limits) = (&self.listen, &self.limits);
        refuse(
            listen.address.is_none() && listen.unix_socket.is_none(),
            "listen.address and listen.unix_socket are both empty: no client could connect",
        );
        refuse(
            listen
                .address
                .is_some_and(|address| address.port() != 0 && self.admin.address == Some(address)),
            "listen.address and admin.address are the same: give the admin pages another port",
        );
        refuse(
            self.upstream.username.is_some() && self.upstream.password.is_none(),
            "upstream.username needs upstream.password: AUTH sends both",
        );
        refuse(
            self.upstream.second_password.is_some() && self.upstream.password.is_none(),
            "upstream.second_password needs upstream.password, which is tried first",
        );
        let passes_through = self.upstream.identity == IdentityMode::PassThrough;
        refuse(
            passes_through && (!self.users.is_empty() || self.acl.file.is_some()),
            "upstream.identity = \"pass-through\" leaves no use for [[users]] and acl.file: the nodes say who may come in; leave them out",
        );
        refuse(
            passes_through && self.all_listeners().any(|listen| listen.password.is_some()),
            "upstream.identity = \"pass-through\" leaves no use for listen.password: the nodes know the passwords; leave it out",
        );
        refuse(
            limits.argument_bytes > limits.query_buffer_bytes,
            "limits.argument_bytes is above limits.query_buffer_bytes: no request could hold such an argument",
        );
        refuse(
            limits.client_output_soft_bytes > limits.client_output_hard_bytes,
            "limits.client_output_soft_bytes is above limits.client_output_hard_bytes: clients would be closed before they are slowed down",
        );
        refuse(
            limits.subscriber_output_soft_bytes > limits.subscriber_output_hard_bytes,
            "limits.subscriber_output_soft_bytes is above limits.subscriber_output_hard_bytes: it would never be reached",
        );
        refuse(
            self.cluster.zone.is_none() && self.all_listeners().any(wants_zone),
            "read_policy = \"same-zone\" needs cluster.zone (KEYWAY_ZONE): without it no node is in the same zone",
        );
        refuse(
            self.upstream.tls_certificate.is_some() != self.upstream.tls_key.is_some(),
            "upstream.tls_certificate and upstream.tls_key go together: one is missing",
        );
        let says_tls = self.upstream.tls_ca.is_some()
            || self.upstream.tls_certificate.is_some()
            || !self.upstream.tls_verify.is_on();
        refuse(
            says_tls && !self.upstream.tls.is_on(),
            "upstream.tls is \"off\" and other tls keys of [upstream] are set: without it nodes are spoken to in plain text",
        );
        refuse(
            self.admin.tls_certificate.is_some() != self.admin.tls_key.is_some(),
            "admin.tls_certificate and admin.tls_key go together: one is missing",
        );
        for listener in self.all_listeners() {
            found.extend(of_tls(listener));
        }
        self.further_listeners(&mut found);
        self.seeds_of_its_own(&mut found);
        found
    }

    /// A Keyway that asks itself for the cluster waits for ever.
    fn seeds_of_its_own(&self, found: &mut Vec<String>) {
        for seed in &self.cluster.seeds {
            let own = self.all_listeners().find(|listener| {
                listener
                    .address
                    .is_some_and(|address| leads_to(seed, address))
            });
            if let Some(own) = own {
                found.push(format!(
                    "cluster.seeds: {seed} is the address of listener \"{}\": name a node of the cluster, or let Keyway listen elsewhere",
                    own.name
                ));
            }
        }
    }

    fn further_listeners(&self, found: &mut Vec<String>) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let path = format!("listeners[{}]", index + 1);
            if listener.address.is_none() && listener.unix_socket.is_none() {
                found.push(format!(
                    "{path}.address and {path}.unix_socket are both empty: no client could connect"
                ));
            }
            let address = listener.address.filter(|address| address.port() != 0);
            if address.is_some() && address == self.admin.address {
                found.push(format!(
                    "{path}.address and admin.address are the same: give the admin pages another port"
                ));
            }
            for earlier in self.all_listeners().take(index + 1) {
                let same = [
                    ("name", earlier.name == listener.name),
                    ("address", address.is_some() && earlier.address == address),
                    (
                        "unix_socket",
                        listener.unix_socket.is_some()
                            && earlier.unix_socket == listener.unix_socket,
                    ),
                ];
                for (key, _) in same.iter().filter(|(_, is_same)| *is_same) {
                    found.push(format!(
                        "{path}.{key} is that of listener \"{}\" as well: each needs its own",
                        earlier.name
                    ));
                }
            }
        }
    }
}

/// Whether who connects to the seed comes to what listens at the address, as far as that is plain to see.
fn leads_to(seed: &HostPort, address: SocketAddr) -> bool {
    let host = match seed.host.as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok(),
    };
    seed.port == address.port()
        && host.is_some_and(|host| {
            host == address.ip() || host.is_loopback() && address.ip().is_unspecified()
        })
}

fn of_tls(listener: &ListenSettings) -> Vec<String> {
    let name = &listener.name;
    let asks = listener.tls_auth_clients != TlsAuthClients::No;
    let cases = [
        (
            listener.tls_certificate.is_some() != listener.tls_key.is_some(),
            "tls_certificate and tls_key go together: one is missing",
        ),
        (
            listener.tls_certificate.is_some() && listener.address.is_none(),
            "tls_certificate needs an address: a Unix socket is plain",
        ),
        (
            asks && listener.tls_certificate.is_none(),
            "tls_auth_clients needs tls_certificate: only TLS carries certificates",
        ),
        (
            asks && listener.tls_client_ca.is_none(),
            "tls_auth_clients needs tls_client_ca: nothing tells whose certificates are good",
        ),
        (
            !asks && listener.tls_client_ca.is_some(),
            "tls_client_ca does nothing while tls_auth_clients is \"no\": say \"yes\" or \"optional\"",
        ),
        (
            !asks && listener.tls_auth_clients_user != TlsClientUser::Off,
            "tls_auth_clients_user needs tls_auth_clients: nobody shows a certificate",
        ),
    ];
    let wrong = cases.iter().filter(|(is_wrong, _)| *is_wrong);
    wrong
        .map(|(_, reason)| format!("listener \"{name}\": {reason}"))
        .collect()
}

fn wants_zone(listener: &ListenSettings) -> bool {
    let by_name = listener.read_policy_by_name.iter();
    let mut policies = by_name
        .map(|(_, policy)| *policy)
        .chain([listener.read_policy]);
    policies.any(|policy| policy == ReadPolicy::SameZone)
}
