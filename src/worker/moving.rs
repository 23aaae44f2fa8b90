//! Clients move from the connections of one identity and database to those of another, when they have become
//! somebody else or selected another database.
//!
//! 1. `AUTH`, `HELLO`, `RESET`, `SELECT` or new rules make a client belong elsewhere; its session is not at home any
//!    more, and none of its requests is planned.
//! 2. Once all that it asked for before is answered, its task takes it out of this core, with replies that it has
//!    not read yet and requests that have not been looked at, and puts it into the other.
//! 3. There it goes on. Nothing of the old core knows it, and the other has never had another connection than
//!    those of its identity and database.
//!
//! Who watches, is subscribed, tracks, monitors or is inside `MULTI` holds something of a connection, so it is
//! told to end that first.

use super::clients::{Client, Errand, Phase, UNSETTLED};
use super::core::Core;
use super::requests::Taken;
use crate::client::monitor::Monitoring;
use crate::client::{Bound, Home};
use crate::pipeline::ClientKey;
use crate::upstream;

impl Client {
    /// What it has to end before its commands can travel over other connections.
    pub(super) fn bound(&self) -> Option<Bound> {
        if self.transaction.is_some() {
            Some(Bound::Transaction)
        } else if self.watch.is_some() {
            Some(Bound::Watch)
        } else if self.is_subscriber() {
            Some(Bound::Subscriptions)
        } else if self.tracking.is_some() {
            Some(Bound::Tracking)
        } else if self.monitoring != Monitoring::No {
            Some(Bound::Monitor)
        } else {
            None
        }
    }

    /// Its task has this to do. It is told once: while earlier requests are unanswered the same is found again whenever
    /// the client is looked at, and their replies wake it.
    pub(super) fn goes_on(&mut self, errand: Errand) {
        if self.errand != errand {
            self.errand = errand;
            self.wake();
        }
    }

    /// Whether it can be moved now.
    pub(super) fn is_ready_to_move(&self) -> bool {
        self.errand == Errand::Move
            && matches!(self.phase, Phase::Open | Phase::HalfClosed)
            && self.is_settled()
    }
}

impl Core {
    /// To be called when a client may belong elsewhere.
    pub(super) fn follow_home(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let errand = match client.session.is_at_home() {
            _ if matches!(client.errand, Errand::Vouch | Errand::Select) => return,
            true => Errand::None,
            false => Errand::Move,
        };
        client.goes_on(errand);
    }

    /// A request of a client that has to be moved first: it is looked at over there.
    pub(super) fn wait_to_move(&mut self, key: ClientKey) -> Taken {
        self.follow_home(key);
        Taken::NotYet
    }

    /// Takes a client out that goes to another core. Everything that it asked for is answered.
    pub(super) fn departs(&mut self, key: ClientKey) -> Option<Client> {
        debug_assert!(self.clients.get(key).is_none_or(|c| c.is_ready_to_move()));
        self.let_go_of(key);
        let mut client = self.clients.remove(key)?;
        self.forget_taking(client.taking.take());
        self.may_be_drained();
        Some(client)
    }

    /// Takes in a client that was in another core.
    pub(super) fn arrives(&mut self, mut client: Client) -> ClientKey {
        client.errand = Errand::None;
        client.map_version = UNSETTLED;
        // Over there it may be listed.
        client.is_listed_parked = false;
        // It speaks of nodes by their numbers over there.
        client.written.forget_which();
        client.session.settle_at(self.home());
        let key = self.clients.adopt(client);
        self.refresh_policy(key);
        if self.is_draining {
            self.dismiss(key);
        }
        key
    }

    /// Whether nobody has needed these connections for so long that they can go. Those that every client begins
    /// with stay.
    pub(super) fn is_deserted(&mut self, idle_us: u64) -> bool {
        if self.home() == Home::FIRST {
            return false;
        }
        if !self.clients.is_empty() || !self.hub.is_idle() {
            self.deserted_since_us = None;
            return false;
        }
        let since_us = *self.deserted_since_us.get_or_insert(self.now_us);
        self.now_us.saturating_sub(since_us) >= idle_us
    }

    /// Closes all connections: nobody is left to need them.
    pub(super) fn close_connections(&mut self) {
        debug_assert!(self.clients.is_empty());
        for (_, connection) in &mut self.connections {
            connection.is_retiring = true;
            connection.phase = upstream::Phase::Closed;
            connection.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::acl::{Door, Doors, Identity, IdentityNumber, User, Users};
    use crate::client::NotSelected;
    use crate::cluster::Database;
    use crate::resp::write;
    use crate::worker::core::WorkerLimits;

    fn core(identity: Option<&Arc<Identity>>, doors: &Arc<Doors>) -> Core {
        let mut core = Core::new(
            0,
            WorkerLimits::default(),
            Arc::default(),
            Arc::default(),
            Arc::default(),
            Arc::default(),
        );
        core.identity = identity.cloned();
        core.doors = Arc::clone(doors);
        core
    }

    fn say(core: &mut Core, key: ClientKey, words: &[&str]) -> usize {
        let mut frame = Vec::new();
        write::command(&mut frame, words);
        core.process(key, &frame).consumed
    }

    /// contract: C1
    #[test]
    fn nothing_is_asked_before_it_is_where_it_belongs() {
        let identity = Arc::new(Identity::new(IdentityNumber(1), "there"));
        let user = User::unrestricted("app", Some(b"p")).travelling_as(Arc::clone(&identity));
        let doors = Arc::new(Doors(vec![Arc::new(Door {
            users: Users::new(vec![Arc::new(user)], None),
            ..Door::default()
        })]));
        let (mut service, mut own) = (core(None, &doors), core(Some(&identity), &doors));
        let key = service.client_joins(7, "1.1.1.1:1", None);
        assert!(say(&mut service, key, &["AUTH", "app", "p"]) > 0);
        for words in [
            &["GET", "k"][..],
            &["MULTI"],
            &["BLPOP", "k", "0"],
            &["SUBSCRIBE", "c"],
            &["MONITOR"],
            &["DBSIZE"],
            &["PING"],
        ] {
            assert_eq!(say(&mut service, key, words), 0, "{words:?}");
        }
        assert!(service.connections.is_empty() && service.parked_clients.is_empty());
        let client = service.clients.get(key).expect("it is there");
        assert!(client.is_ready_to_move());
        let mut client = service.departs(key).expect("it is there");
        // Over there its list of clients with parked requests still had it: here it was never looked at again.
        client.is_listed_parked = true;
        assert!(service.clients.is_empty());
        let key = own.arrives(client);
        let client = own.clients.get(key).expect("it is there");
        assert_eq!(
            client.replies.output(),
            b"+OK\r\n",
            "it has not read it yet"
        );
        assert_eq!((client.session.id, client.errand), (7, Errand::None));
        assert!(!client.is_listed_parked);
        assert!(client.session.is_free());
        assert!(say(&mut own, key, &["GET", "k"]) > 0);
        assert!(!own.clients.get(key).expect("it is there").is_settled());

        // It holds something now: becoming somebody else has to wait.
        let key = own.client_joins(8, "1.1.1.1:2", None);
        let client = own.clients.get(key).expect("it is there");
        assert!(
            client.is_ready_to_move(),
            "who is nobody is the service user"
        );
        let client = own.departs(key).expect("it is there");
        let key = service.arrives(client);
        assert!(say(&mut service, key, &["MULTI"]) > 0);
        assert!(say(&mut service, key, &["RESET"]) > 0);
        assert!(say(&mut service, key, &["PING"]) > 0);
        let client = service.clients.get(key).expect("it is there");
        assert_eq!(client.errand, Errand::None);
    }

    /// contract: C1 C5
    #[test]
    fn nothing_is_asked_before_it_is_in_its_database() {
        let doors = Arc::default();
        let (mut first, mut third) = (core(None, &doors), core(None, &doors));
        third.database = Database(3);
        let key = first.client_joins(7, "1.1.1.1:1", None);
        for outcome in [Err(NotSelected::ByNode("ERR no".to_owned())), Ok(())] {
            assert_eq!(
                say(&mut first, key, &["SELECT", "3"]),
                0,
                "nobody was asked yet"
            );
            let client = first.clients.get(key).expect("it is there");
            assert!(client.errand == Errand::Select && client.session.is_at_home());
            first.selecting_ends(key, outcome);
            assert_eq!(
                say(&mut first, key, &["SELECT", "4"]),
                0,
                "that was about another"
            );
            first.selecting_ends(key, Err(NotSelected::ByNode("ERR neither".to_owned())));
            assert!(say(&mut first, key, &["SELECT", "4"]) > 0);
            let client = first.clients.get(key).expect("it is there");
            assert!(client.session.is_at_home() && client.errand == Errand::None);
        }
        assert_eq!(say(&mut first, key, &["SELECT", "3"]), 0);
        first.selecting_ends(key, Ok(()));
        assert!(say(&mut first, key, &["SELECT", "3"]) > 0);
        for words in [
            &["GET", "k"][..],
            &["MULTI"],
            &["BLPOP", "k", "0"],
            &["SELECT", "0"],
        ] {
            assert_eq!(say(&mut first, key, words), 0, "{words:?}");
        }
        assert!(first.connections.is_empty() && first.parked_clients.is_empty());
        let client = first.departs(key).expect("it is there");
        let key = third.arrives(client);
        let client = third.clients.get(key).expect("it is there");
        assert!(client.session.is_free());
        assert!(say(&mut third, key, &["SELECT", "3"]) > 0);
        assert!(say(&mut third, key, &["GET", "k"]) > 0);
        let key = third.client_joins(8, "1.1.1.1:2", None);
        let client = third.clients.get(key).expect("it is there");
        assert!(client.is_ready_to_move(), "who begins is in the first");
    }

    #[test]
    fn who_has_no_clients_goes_after_a_time() {
        let identity = Arc::new(Identity::new(IdentityNumber(1), "there"));
        let doors = Arc::default();
        let mut own = core(Some(&identity), &doors);
        assert!(!own.is_deserted(10));
        own.now_us += 9;
        assert!(!own.is_deserted(10));
        let key = own.client_joins(1, "1.1.1.1:1", None);
        own.now_us += 9;
        assert!(!own.is_deserted(10));
        own.client_left(key);
        assert!(!own.is_deserted(10), "from now on");
        own.now_us += 10;
        assert!(own.is_deserted(10));
        let mut service = core(None, &doors);
        assert!(!service.is_deserted(0));
    }
}
