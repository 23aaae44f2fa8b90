//! What clients were told, against what the nodes did.
//!
//! A write that was acknowledged stands in the log of the node that executed it. When it is in no node's
//! log, nobody executed it: Keyway lost it. When it is, and a later read does not show it, the node that had
//! it lost its place before its replica had it: the cluster's own asynchronous replication lost it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::aof;
use super::line::Fate;
use super::marker::Marker;
use super::support::Cluster;

/// How many of each kind of fault are told.
const SHOWN: usize = 5;
/// How many commands on the same key are shown before a write that is out of order, and behind it.
const SHOWN_AROUND: usize = 6;

/// What the logs say. All but `acknowledged`, `refused`, `unknown` and `late` must be empty.
#[derive(Debug, Default)]
pub struct Audit {
    /// How many writes were acknowledged, said not to be executed, and neither.
    pub acknowledged: u64,
    /// See `acknowledged`.
    pub refused: u64,
    /// See `acknowledged`.
    pub unknown: u64,
    /// Of the unknown ones, how many were executed.
    pub unknown_executed: u64,
    /// Acknowledged, and no node executed it: lost by Keyway.
    pub lost: Vec<Marker>,
    /// The client was told that it was not executed, and it was.
    pub refused_executed: Vec<Marker>,
    /// Executed twice by the same node.
    pub twice: Vec<Marker>,
    /// Executed after a later write of the same key, by the same node.
    pub disordered: Vec<Marker>,
    /// What the node executed on the same keys around these.
    pub around: Vec<String>,
    /// The same, for a write of unknown outcome.
    pub late: u64,
    /// Of these, writes whose client kept its connection.
    pub late_told: u64,
    /// Commands read.
    pub commands: u64,
}

impl Audit {
    /// Reads all logs of a cluster.
    pub fn of(cluster: &Cluster, writes: &[(Marker, Fate)]) -> Audit {
        let fates: HashMap<Marker, Fate> = writes.iter().copied().collect();
        let mut audit = Audit::default();
        let mut executed = HashSet::new();
        for node in cluster.nodes() {
            for file in aof::files(node.folder()) {
                audit.read(&file, &fates, &mut executed);
            }
        }
        for (marker, fate) in writes {
            let was_executed = executed.contains(marker);
            match fate {
                Fate::Done => {
                    audit.acknowledged += 1;
                    if !was_executed {
                        audit.lost.push(*marker);
                    }
                }
                Fate::Refused => {
                    audit.refused += 1;
                    if was_executed {
                        audit.refused_executed.push(*marker);
                    }
                }
                Fate::Unknown | Fate::Lost => {
                    audit.unknown += 1;
                    audit.unknown_executed += u64::from(was_executed);
                }
            }
        }
        audit
    }

    fn read(
        &mut self,
        file: &aof::LogFile,
        fates: &HashMap<Marker, Fate>,
        executed: &mut HashSet<Marker>,
    ) {
        let mut seen = HashSet::new();
        let mut last: HashMap<u32, Marker> = HashMap::new();
        let mut disordered = Vec::new();
        aof::commands(&file.path, |arguments| {
            self.commands += 1;
            if arguments[0].eq_ignore_ascii_case(b"RESTORE") {
                // A key that came from another node, which may have lost writes that this one had before.
                let markers = Marker::all_in(&arguments[3]);
                last.extend(markers.iter().map(|&marker| (marker.key, marker)));
                executed.extend(markers);
                return;
            }
            for marker in arguments.iter().filter_map(|bytes| Marker::parse(bytes)) {
                executed.insert(marker);
                if file.is_base {
                    continue;
                }
                if !seen.insert(marker) {
                    self.twice.push(marker);
                }
                let before = last.insert(marker.key, marker);
                if before.is_some_and(|before| before.version >= marker.version) {
                    match fates.get(&marker).copied() {
                        Some(fate) if fate.is_unknown() => {
                            self.late += 1;
                            self.late_told += u64::from(fate == Fate::Unknown);
                        }
                        _ => disordered.push(marker),
                    }
                }
            }
        });
        for &marker in disordered.iter().take(SHOWN) {
            self.around.extend(around(file, marker, fates));
        }
        self.disordered.extend(disordered);
    }

    /// What must not be, in words; empty when all is well.
    pub fn faults(&self) -> Vec<String> {
        let kinds = [
            ("acknowledged writes that no node executed", &self.lost),
            (
                "writes told as not executed that were",
                &self.refused_executed,
            ),
            ("writes executed twice", &self.twice),
            ("writes executed out of order", &self.disordered),
        ];
        let faults = kinds.into_iter().filter(|(_, markers)| !markers.is_empty());
        faults
            .map(|(what, markers)| {
                let some: BTreeSet<_> = markers.iter().take(SHOWN).collect();
                format!("{} {what}: {some:?}", markers.len())
            })
            .collect()
    }
}

/// What a node executed on the key of a write, before and after it, with what was told to the clients.
fn around(file: &aof::LogFile, of: Marker, fates: &HashMap<Marker, Fate>) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut name = None;
    let mut left = None;
    aof::commands(&file.path, |arguments| {
        let marker = arguments.iter().find_map(|bytes| Marker::parse(bytes));
        let marker = marker.filter(|marker| marker.key == of.key);
        if marker.is_some() && name.is_none() {
            name = arguments.get(1).cloned();
        }
        let is_of_key = marker.is_some() || (name.is_some() && arguments.get(1) == name.as_ref());
        if !is_of_key || left == Some(0) {
            return;
        }
        let words = arguments.iter().map(|bytes| {
            let start = bytes[..bytes.len().min(40)].escape_ascii();
            start.to_string()
        });
        let words: Vec<String> = words.collect();
        let fate = marker.and_then(|marker| fates.get(&marker));
        lines.push_back(format!(
            "{}: {} ({fate:?})",
            file.path.display(),
            words.join(" ")
        ));
        match &mut left {
            Some(left) => *left -= 1,
            None if marker == Some(of) => left = Some(SHOWN_AROUND),
            None if lines.len() > SHOWN_AROUND => drop(lines.pop_front()),
            None => {}
        }
    });
    lines
}
