//! Which fault comes next: a pack of all of them, shuffled by the seed, again and again.

/// What is done to the cluster or to Keyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to a primary; started again when another one has taken over.
    KillPrimary,
    /// SIGKILL to a primary, started again at once.
    KillAndStartPrimary,
    /// SIGKILL to a replica; started again.
    KillReplica,
    /// SIGSTOP to a primary for less than it takes to be thought dead.
    StopBriefly,
    /// SIGSTOP to a primary until another one has taken over; then it wakes up.
    StopUntilFailover,
    /// `CLUSTER FAILOVER`.
    PlannedFailover,
    /// `CLUSTER FAILOVER FORCE`.
    ForcedFailover,
    /// Slots go to another primary.
    MoveSlots,
    /// A slot stays half moved for a while.
    HalfMove,
    /// A node joins and takes slots, or the one that did gives them back and leaves.
    JoinOrLeave,
    /// `CLIENT KILL TYPE normal` at a node: all of Keyway's connections to it.
    KillConnections,
    /// `CLIENT KILL` of some of Keyway's clients.
    KillClients,
    /// `CLIENT PAUSE` at a node.
    PauseNode,
    /// `CLIENT PAUSE` at Keyway.
    PauseClients,
    /// SIGKILL to all nodes at once; started again.
    RestartCluster,
    /// SIGTERM to Keyway; started again when it has drained.
    RestartKeyway,
    /// SIGKILL to Keyway; started again.
    KillKeyway,
}

impl Fault {
    /// All of them; what is often done in a cluster's life stands twice.
    const PACK: [Fault; 20] = [
        Fault::KillPrimary,
        Fault::KillAndStartPrimary,
        Fault::KillReplica,
        Fault::StopBriefly,
        Fault::StopUntilFailover,
        Fault::PlannedFailover,
        Fault::PlannedFailover,
        Fault::ForcedFailover,
        Fault::MoveSlots,
        Fault::MoveSlots,
        Fault::HalfMove,
        Fault::JoinOrLeave,
        Fault::JoinOrLeave,
        Fault::KillConnections,
        Fault::KillClients,
        Fault::PauseNode,
        Fault::PauseClients,
        Fault::RestartCluster,
        Fault::RestartKeyway,
        Fault::KillKeyway,
    ];

    /// Whether the cluster may forget what it acknowledged.
    pub fn is_lossy(self) -> bool {
        match self {
            Fault::KillPrimary
            | Fault::KillAndStartPrimary
            | Fault::StopBriefly
            | Fault::StopUntilFailover
            | Fault::ForcedFailover
            | Fault::RestartCluster => true,
            Fault::KillReplica
            | Fault::PlannedFailover
            | Fault::MoveSlots
            | Fault::HalfMove
            | Fault::JoinOrLeave
            | Fault::KillConnections
            | Fault::KillClients
            | Fault::PauseNode
            | Fault::PauseClients
            | Fault::RestartKeyway
            | Fault::KillKeyway => false,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillPrimary => "kill -9 of a primary",
            Fault::KillAndStartPrimary => "kill -9 of a primary, started at once",
            Fault::KillReplica => "kill -9 of a replica",
            Fault::StopBriefly => "SIGSTOP of a primary for 0.2 to 0.8 s",
            Fault::StopUntilFailover => "SIGSTOP of a primary until it was replaced",
            Fault::PlannedFailover => "planned failover",
            Fault::ForcedFailover => "forced failover",
            Fault::MoveSlots => "16 to 64 slots moved",
            Fault::HalfMove => "a slot left half moved",
            Fault::JoinOrLeave => "a node joined or left",
            Fault::KillConnections => "CLIENT KILL of all connections to a node",
            Fault::KillClients => "CLIENT KILL of clients",
            Fault::PauseNode => "CLIENT PAUSE at a node",
            Fault::PauseClients => "CLIENT PAUSE at Keyway",
            Fault::RestartCluster => "kill -9 of all nodes",
            Fault::RestartKeyway => "restart of Keyway (SIGTERM)",
            Fault::KillKeyway => "kill -9 of Keyway",
        }
    }
}

/// Faults without end.
pub struct Schedule {
    /// Also for whom it strikes.
    pub random: fastrand::Rng,
    pack: Vec<Fault>,
}

impl Schedule {
    /// The one of this seed.
    pub fn new(seed: u64) -> Schedule {
        Schedule {
            random: fastrand::Rng::with_seed(seed),
            pack: Vec::new(),
        }
    }

    /// The next fault.
    pub fn next(&mut self) -> Fault {
        if self.pack.is_empty() {
            self.pack = Fault::PACK.to_vec();
            self.random.shuffle(&mut self.pack);
        }
        self.pack.pop().expect("the pack has just been filled")
    }
}
