//! What came of a run, for people, and whether it is what was promised.

use std::fmt;
use std::time::Duration;

use super::audit::Audit;
use super::queues_check::Elements;
use super::run::Interruptions;
use super::support::Flavor;
use super::tally::Tally;

/// What came of a run.
pub struct Report {
    flavor: Flavor,
    seed: u64,
    /// How long faults were done.
    pub ran: Duration,
    /// How often a node was taken for dead by a fault that does not kill.
    pub unasked: usize,
    /// What clients counted.
    pub tally: Tally,
    /// How long each fault was felt by clients that write all the time.
    pub faults: Interruptions,
    /// What the nodes' logs say.
    pub audit: Audit,
    /// Who has the elements of the queues.
    pub elements: Elements,
    /// Lines of Keyway's log that must not be.
    pub log_faults: Vec<String>,
}

impl Report {
    /// Of a run that has just begun.
    pub fn new(flavor: Flavor, seed: u64) -> Report {
        Report {
            flavor,
            seed,
            ran: Duration::ZERO,
            unasked: 0,
            tally: Tally::default(),
            faults: Interruptions::new(),
            audit: Audit::default(),
            elements: Elements::default(),
            log_faults: Vec::new(),
        }
    }

    /// Everything that must not be; empty when all is well.
    fn broken_promises(&self) -> Vec<String> {
        let mut broken = self.audit.faults();
        broken.extend(self.elements.faults.iter().cloned());
        broken.extend(self.log_faults.iter().cloned());
        let counts = [
            ("wrong replies", self.tally.wrong),
            ("reordered replies", self.tally.reordered),
            ("hangs", self.tally.hangs),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        broken.extend(counts.map(|(what, count)| format!("{count} {what}")));
        broken
    }

    /// Fails unless every promise was kept.
    #[track_caller]
    pub fn assert_kept(&self) {
        let broken = self.broken_promises();
        assert!(broken.is_empty(), "{self}\n{}", broken.join("\n"));
    }

    /// The line that does the same again.
    fn again(&self) -> String {
        format!(
            "make chaos KEYWAY_CHAOS_FLAVOR={} KEYWAY_CHAOS_SEED={} KEYWAY_CHAOS_SECONDS={}",
            format!("{:?}", self.flavor).to_lowercase(),
            self.seed,
            self.ran.as_secs()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            tally,
            audit,
            elements,
            ..
        } = self;
        let count: usize = self.faults.values().map(Vec::len).sum();
        writeln!(
            out,
            "\n{:?} {}, seed {}, {:.0?}: {count} faults (and {} times a node was taken for dead), {} replies",
            self.flavor,
            self.flavor.version(),
            self.seed,
            self.ran,
            self.unasked,
            tally.replies
        )?;
        let must_be_zero = [
            ("wrong replies", tally.wrong),
            ("reordered replies", tally.reordered),
            ("hangs", tally.hangs),
            (
                "acknowledged writes lost by Keyway",
                audit.lost.len() as u64,
            ),
            (
                "executed, told as not executed",
                audit.refused_executed.len() as u64,
            ),
            ("executed twice", audit.twice.len() as u64),
            ("executed out of order", audit.disordered.len() as u64),
            ("elements misplaced", elements.faults.len() as u64),
        ];
        for (what, value) in must_be_zero {
            let alarm = if value == 0 { "" } else { ", MUST BE 0" };
            writeln!(out, "  {what}: {value}{alarm}")?;
        }
        writeln!(
            out,
            "  writes: {} acknowledged, {} refused, {} of unknown outcome ({} of these executed, {} after a later one, of which {} over \
             the same connection to Keyway)",
            audit.acknowledged,
            audit.refused,
            audit.unknown,
            audit.unknown_executed,
            audit.late.max(tally.late),
            audit.late_told.max(tally.late_told)
        )?;
        writeln!(
            out,
            "  lost by the cluster's own replication: {} acknowledged writes, in {} reads that saw an older value \
             ({} seen again later); of {} writes confirmed by WAIT: {}",
            tally.lost, tally.rolled_back, tally.returned, tally.waited, tally.lost_waited
        )?;
        writeln!(
            out,
            "  transactions: {} carried out, {} aborted by WATCH",
            tally.transactions, tally.aborted
        )?;
        writeln!(
            out,
            "  elements: {} pushed, {} delivered, {} left, {} taken by who did not hear of it, {} lost by the \
             cluster, {} given again by it",
            elements.pushed,
            elements.delivered,
            elements.left,
            elements.taken_unheard,
            elements.lost,
            elements.given_again
        )?;
        writeln!(
            out,
            "  messages: {} heard, {} missed, {} twice, {} after a later one",
            tally.messages, tally.missed, tally.twice, tally.overtaken
        )?;
        writeln!(
            out,
            "  values above 1 MB: {} MB; connections to Keyway lost: {}; longest wait {:.1?}; {} commands in the \
             nodes' logs",
            tally.large_bytes / 1_000_000,
            tally.disconnects,
            tally.longest_wait,
            audit.commands
        )?;
        for (kind, count) in &tally.errors {
            writeln!(out, "  {count} x -{kind}")?;
        }
        writeln!(
            out,
            "  interruptions of a client that writes all the time: count, p50, p99"
        )?;
        let mut all: Vec<Duration> = self.faults.values().flatten().copied().collect();
        row(out, "all faults", &mut all)?;
        for (fault, gaps) in &self.faults {
            row(out, fault.name(), &mut gaps.clone())?;
        }
        for text in tally.texts.iter().chain(&audit.around) {
            writeln!(out, "  {text}")?;
        }
        writeln!(out, "again: {}", self.again())
    }
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, gaps: &mut [Duration]) -> fmt::Result {
    gaps.sort_unstable();
    let at = |percent: usize| {
        let index = (gaps.len() * percent).div_ceil(100).max(1) - 1;
        gaps.get(index).copied().unwrap_or_default()
    };
    writeln!(
        out,
        "    {name}: {}, {:.2?}, {:.2?}",
        gaps.len(),
        at(50),
        at(99)
    )
}
