//! A request with keys of several slots becomes one request for each slot (contract: M1).

use crate::cluster::Slot;
use crate::resp::{Args, write};

/// Sorts the keys of one request by their slots. Kept by its worker and used again, so that the
/// steady state allocates nothing.
#[derive(Debug, Default)]
pub struct Splitter {
    /// `slot << 32 | number of the key`, sorted: the keys of a slot stand together and in the
    /// request's order.
    keys: Vec<u64>,
    /// Argument index of each key.
    positions: Vec<u32>,
}

/// The keys of one slot: a run of [`Splitter::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Their slot.
    pub slot: Slot,
    start: u32,
    count: u32,
}

impl Splitter {
    /// Takes the keys of a request by the positions of their arguments. Returns the slot when all
    /// keys share one; else the keys are sorted and [`Splitter::parts`] has several.
    pub fn group(
        &mut self,
        args: &Args<'_>,
        positions: impl Iterator<Item = usize>,
    ) -> Option<Slot> {
        self.keys.clear();
        self.positions.clear();
        let mut first = None;
        let mut is_single = true;
        for (number, position) in positions.enumerate() {
            let slot = Slot::of_key(args.get(position).unwrap_or_default());
            is_single &= *first.get_or_insert(slot) == slot;
            self.keys
                .push(u64::from(slot.number()) << 32 | number as u64);
            self.positions.push(position as u32);
        }
        if is_single {
            return first;
        }
        self.keys.sort_unstable();
        None
    }

    /// One part for each slot, in the order of the slots.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let mut start = 0;
        std::iter::from_fn(move || {
            let slot_bits = self.keys.get(start)? >> 32;
            let slot = Slot::new(slot_bits as u16)?;
            let count = self.keys[start..]
                .iter()
                .take_while(|key| **key >> 32 == slot_bits)
                .count();
            let part = Part {
                slot,
                start: start as u32,
                count: count as u32,
            };
            start += count;
            Some(part)
        })
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// For each key, as they stood in the request, the part it went to.
    pub fn order(&self) -> Vec<u32> {
        let mut order = vec![0; self.key_count()];
        for (index, part) in self.parts().enumerate() {
            for number in self.numbers(part) {
                order[number] = index as u32;
            }
        }
        order
    }

    /// The numbers of a part's keys, as they stood in the request.
    pub fn numbers(&self, part: Part) -> impl Iterator<Item = usize> + '_ {
        let start = part.start as usize;
        self.keys[start..start + part.count as usize]
            .iter()
            .map(|key| (key & 0xffff_ffff) as usize)
    }

    /// Appends the request for one part: what stands before the keys, each key with the `step - 1`
    /// arguments that belong to it, and what stands behind. All of it is copied as the client wrote it.
    pub fn write_part(&self, args: &Args<'_>, part: Part, step: usize, out: &mut Vec<u8>) {
        let position = |number: usize| self.positions.get(number).map_or(1, |at| *at as usize);
        let first = position(0);
        let end = position(self.positions.len().wrapping_sub(1)) + step;
        let behind = args.len().saturating_sub(end);
        write::array(out, first + part.count as usize * step + behind);
        out.extend_from_slice(args.raw(0, first));
        for number in self.numbers(part) {
            out.extend_from_slice(args.raw(position(number), step));
        }
        out.extend_from_slice(args.raw(end, behind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::scan::{Limits, RequestScanner};

    fn parts(words: &[&str], step: usize) -> Vec<String> {
        parts_between(words, 1, words.len(), step)
    }

    /// With keys from `first` on and before `end`.
    fn parts_between(words: &[&str], first: usize, end: usize, step: usize) -> Vec<String> {
        let mut frame = Vec::new();
        write::command(&mut frame, words);
        let mut scanner = RequestScanner::default();
        let limits = Limits {
            bulk_bytes_max: 1 << 20,
            request_bytes_max: usize::MAX,
            is_authenticated: true,
        };
        scanner.scan(&frame, &limits).expect("a request");
        let args = Args::new(&frame, scanner.spans());
        let mut splitter = Splitter::default();
        if let Some(slot) = splitter.group(&args, (first..end).step_by(step)) {
            return vec![format!("all in {}", slot.number())];
        }
        splitter
            .parts()
            .map(|part| {
                let mut out = Vec::new();
                splitter.write_part(&args, part, step, &mut out);
                String::from_utf8_lossy(&out).replace("\r\n", " ")
            })
            .collect()
    }

    /// contract: M1
    #[test]
    fn one_request_for_each_slot() {
        assert_eq!(parts(&["MGET", "{a}1", "{a}2"], 1), ["all in 15495"]);
        assert_eq!(
            parts(&["MGET", "foo", "bar", "foo"], 1),
            ["*2 $4 MGET $3 bar ", "*3 $4 MGET $3 foo $3 foo "]
        );
        assert_eq!(
            parts(&["mset", "foo", "1", "bar", "", "{foo}x", "three"], 2),
            [
                "*3 $4 mset $3 bar $0  ",
                "*5 $4 mset $3 foo $1 1 $6 {foo}x $5 three "
            ]
        );
        // What stands around the keys is in each part.
        assert_eq!(
            parts_between(&["X.MGET", "2", "foo", "bar", "$", "y"], 2, 4, 1),
            [
                "*5 $6 X.MGET $1 2 $3 bar $1 $ $1 y ",
                "*5 $6 X.MGET $1 2 $3 foo $1 $ $1 y "
            ]
        );
    }
}
