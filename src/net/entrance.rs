//! What one listener asks of those who connect: where from, how many, over what.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use super::tls::Acceptor;

/// A listener's rules. Shared by the accept loop and the workers; asked when a connection comes, never for a
/// request.
#[derive(Debug, Default)]
pub struct Entrance {
    /// TLS, if its TCP clients speak it.
    pub tls: Option<Arc<Acceptor>>,
    /// Networks that clients may come from; empty for any.
    pub clients_from: Vec<IpNet>,
    /// Load balancers that put a PROXY header before each connection; empty when there is none.
    pub balancers: Vec<IpNet>,
    /// How many clients one address may have.
    pub visitors: Option<Arc<Visitors>>,
    /// New connections per second; 0 for any number.
    pub connections_per_second: usize,
    /// Connections that were refused, by [`Unwelcome`].
    pub refused: Refused,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwelcome {
    /// It comes from a network that is not allowed.
    Network,
    /// Its address has as many clients as one may have.
    Crowded,
}

/// How many were refused. Written rarely, by several threads.
#[derive(Debug, Default)]
pub struct Refused([AtomicU64; 2]);

impl Refused {
    fn count(&self, why: Unwelcome) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many for this reason.
    pub fn value(&self, why: Unwelcome) -> u64 {
        self.0[why as usize].load(Ordering::Relaxed)
    }
}

impl Entrance {
    /// Whether a TCP connection is a client as soon as it is accepted.
    pub fn is_immediate(&self) -> bool {
        self.tls.is_none() && self.balancers.is_empty()
    }

    /// Lets a client from this address in, or not. It stays as long as the visit is kept.
    ///
    /// # Errors
    /// It is not welcome; that is counted.
    pub fn admit(&self, address: IpAddr) -> Result<Option<Visit>, Unwelcome> {
        let address = address.to_canonical();
        let outcome = match contains(&self.clients_from, address) {
            false => Err(Unwelcome::Network),
            true => match &self.visitors {
                None => Ok(None),
                Some(visitors) => visitors.enter(address).map(Some).ok_or(Unwelcome::Crowded),
            },
        };
        outcome.inspect_err(|why| self.refused.count(*why))
    }

    /// Whether a connection from this address may say whom it brings. Elsewhere a header would be believed
    /// that anybody can write.
    ///
    /// # Errors
    /// It may not; that is counted.
    pub fn admit_balancer(&self, address: IpAddr) -> Result<(), Unwelcome> {
        if contains(&self.balancers, address.to_canonical()) {
            return Ok(());
        }
        self.refused.count(Unwelcome::Network);
        Err(Unwelcome::Network)
    }
}

/// Whether an address is in one of the networks; in no networks is everybody.
fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

/// The clients of each address.
#[derive(Debug)]
pub struct Visitors {
    max: usize,
    now: Mutex<HashMap<IpAddr, usize>>,
}

/// A client of an address; it leaves when this is dropped.
#[derive(Debug)]
pub struct Visit {
    visitors: Arc<Visitors>,
    address: IpAddr,
}

impl Visitors {
    /// At most `max` clients of each address.
    pub fn new(max: usize) -> Arc<Visitors> {
        Arc::new(Visitors {
            max,
            now: Mutex::default(),
        })
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Visit> {
        let address = household(address);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = now.entry(address).or_insert(0);
        if *clients >= self.max {
            return None;
        }
        *clients += 1;
        drop(now);
        Some(Visit {
            visitors: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = self.visitors.now.lock();
        let mut now = now.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut clients) = now.entry(self.address) {
            *clients.get_mut() -= 1;
            if *clients.get() == 0 {
                clients.remove();
            }
        }
    }
}

/// Who has one IPv6 address has a /64 of them.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let upper = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(upper))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_are_let_in_or_not() {
        let entrance = Entrance {
            clients_from: vec![
                "10.0.0.0/8".parse().expect("a network"),
                "fd00::/8".parse().expect("a network"),
            ],
            balancers: vec!["192.0.2.1/32".parse().expect("a network")],
            ..Entrance::default()
        };
        for (address, is_welcome) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(entrance.admit(at(address)).is_ok(), is_welcome, "{address}");
        }
        assert_eq!(entrance.refused.value(Unwelcome::Network), 2);
        assert!(entrance.admit_balancer(at("192.0.2.1")).is_ok());
        assert!(entrance.admit_balancer(at("10.0.0.1")).is_err());
        assert!(Entrance::default().admit(at("203.0.113.9")).is_ok());
    }

    #[test]
    fn one_address_has_so_many_clients() {
        let entrance = Entrance {
            visitors: Some(Visitors::new(2)),
            ..Entrance::default()
        };
        let first = entrance.admit(at("192.0.2.1")).expect("welcome");
        let _second = entrance.admit(at("::ffff:192.0.2.1")).expect("the same");
        let third = entrance.admit(at("192.0.2.1"));
        assert_eq!(third.expect_err("one too many"), Unwelcome::Crowded);
        let _other = entrance.admit(at("192.0.2.2")).expect("another address");
        drop(first);
        let _again = entrance.admit(at("192.0.2.1")).expect("one has left");
        let _a = entrance.admit(at("2001:db8::1")).expect("welcome");
        let _b = entrance.admit(at("2001:db8::2")).expect("the same /64");
        assert!(entrance.admit(at("2001:db8::3")).is_err());
        assert!(entrance.admit(at("2001:db8:0:1::3")).is_ok());
    }

    #[test]
    fn who_has_left_leaves_nothing_behind() {
        let visitors = Visitors::new(1);
        drop(visitors.enter(at("192.0.2.1")));
        assert!(visitors.now.lock().expect("nobody panicked").is_empty());
    }
}
