//! How one node sees its cluster: `CLUSTER NODES`, read.

use keyway::cluster::Slot;

/// One line of `CLUSTER NODES`.
#[derive(Clone, Debug)]
pub struct NodeLine {
    /// The 40-digit node id.
    pub id: String,
    /// Its port, 0 when it is not known.
    pub port: u16,
    /// `myself`, `master`, `slave`, `fail?`, `fail`, `handshake` ...
    pub flags: Vec<String>,
    /// The id of its primary, if it is a replica.
    pub primary: Option<String>,
    /// Its config epoch.
    pub epoch: u64,
    /// What it owns, as ranges, both ends included.
    pub slots: Vec<(u16, u16)>,
}

impl NodeLine {
    /// Whether it carries this flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|has| has == flag)
    }

    /// Whether it owns this slot.
    pub fn owns(&self, slot: u16) -> bool {
        self.slots
            .iter()
            .any(|&(first, last)| (first..=last).contains(&slot))
    }

    fn parse(line: &str) -> Option<NodeLine> {
        let mut fields = line.split(' ');
        let id = fields.next()?.to_owned();
        let addr = fields.next()?.split(['@', ',']).next()?;
        let flags = fields.next()?.split(',').map(str::to_owned).collect();
        let primary = fields.next().filter(|id| *id != "-").map(str::to_owned);
        let epoch = fields.nth(2)?.parse().ok()?;
        let slots = fields
            .skip(1)
            // `[slot->-id]` tells of a migration, not of ownership.
            .filter(|range| !range.starts_with('['))
            .filter_map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                Some((first.parse().ok()?, last.parse().ok()?))
            })
            .collect();
        Some(NodeLine {
            id,
            port: addr.rsplit_once(':')?.1.parse().ok()?,
            flags,
            primary,
            epoch,
            slots,
        })
    }
}

/// All lines of one node's `CLUSTER NODES`.
#[derive(Clone, Debug)]
pub struct View(pub Vec<NodeLine>);

impl View {
    /// Reads the reply's text.
    pub fn parse(text: &str) -> View {
        View(text.lines().filter_map(NodeLine::parse).collect())
    }

    /// The line of the node that was asked.
    pub fn myself(&self) -> Option<&NodeLine> {
        self.0.iter().find(|line| line.is("myself"))
    }

    /// The id of each slot's owner.
    pub fn owners(&self) -> Vec<Option<&str>> {
        let mut owners = vec![None; Slot::COUNT];
        for line in &self.0 {
            for &(first, last) in &line.slots {
                owners[usize::from(first)..=usize::from(last)].fill(Some(line.id.as_str()));
            }
        }
        owners
    }
}
