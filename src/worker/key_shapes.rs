//! Where the keys of requests were that only a node could tell, for requests of the same shape.
//!
//! Nobody says which arguments decide where the keys are: a number, a word, perhaps what a value looks
//! like. So an answer holds for a request of the same command and length in which every argument that is
//! not a key is the same, byte for byte, and which therefore differs in its keys alone. That keys themselves
//! decide is left: a command may look for a word, or a number, wherever it stands. So in both requests each
//! key must look like a key and like nothing else: it has a byte that no word and no number has
//! (`user:1`, `{tag}x`). And each key must stand in the request once, else it is not known where it was.

use std::collections::HashMap;

use crate::command::Command;
use crate::resp::Args;

/// Answers that hold for other requests.
#[derive(Debug, Default)]
pub struct KeyShapes {
    /// By command (rows are never dropped) and number of arguments.
    shapes: HashMap<(*const Command, usize), Vec<Shape>>,
    count: usize,
}

#[derive(Debug)]
struct Shape {
    /// Positions of the keys, ascending.
    keys: Box<[u32]>,
    /// All other arguments, in their order.
    others: Box<[Box<[u8]>]>,
}

/// Longer requests, and others whose other arguments are longer in all, are values most likely, and
/// differ each time.
const ARGUMENTS_MAX: usize = 64;
const OTHER_BYTES_MAX: usize = 512;
/// So many answers about one command with one number of arguments are looked through.
const SHAPES_MAX: usize = 16;

impl KeyShapes {
    /// Where the keys of this request are, if an earlier answer tells.
    pub fn find(&self, command: &'static Command, args: &Args<'_>) -> Option<&[u32]> {
        let shapes = self
            .shapes
            .get(&(std::ptr::from_ref(command), args.len()))?;
        let shape = shapes.iter().find(|shape| shape.fits(args))?;
        Some(&shape.keys)
    }

    /// Notes the keys that a node has found in a request; at most `limit` answers are kept.
    pub fn note(
        &mut self,
        command: &'static Command,
        args: &Args<'_>,
        keys: &[&[u8]],
        limit: usize,
    ) {
        let Some(shape) = Shape::of(args, keys).filter(|_| limit > 0) else {
            return;
        };
        if self.count >= limit {
            self.clear();
        }
        let of_command = (std::ptr::from_ref(command), args.len());
        let shapes = self.shapes.entry(of_command).or_default();
        if shapes.len() >= SHAPES_MAX {
            self.count -= shapes.len();
            shapes.clear();
        }
        shapes.push(shape);
        self.count += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.shapes.clear();
        self.count = 0;
    }
}

impl Shape {
    fn of(args: &Args<'_>, keys: &[&[u8]]) -> Option<Shape> {
        if args.len() > ARGUMENTS_MAX || !keys.iter().all(|key| is_key_alone(key)) {
            return None;
        }
        let mut positions = Vec::with_capacity(keys.len());
        for key in keys {
            let mut places = (0..args.len()).filter(|at| args.get(*at) == Some(*key));
            match (places.next(), places.next()) {
                (Some(at), None) => positions.push(at as u32),
                _ => return None,
            }
        }
        positions.sort_unstable();
        let others: Vec<Box<[u8]>> = (0..args.len())
            .filter(|at| !positions.contains(&(*at as u32)))
            .filter_map(|at| args.get(at).map(Box::from))
            .collect();
        let bytes: usize = others.iter().map(|other| other.len()).sum();
        (bytes <= OTHER_BYTES_MAX).then(|| Shape {
            keys: positions.into(),
            others: others.into(),
        })
    }

    /// Whether the request, of the same length, differs in its keys alone.
    fn fits(&self, args: &Args<'_>) -> bool {
        let mut keys = self.keys.iter().peekable();
        let mut others = self.others.iter();
        args.iter().enumerate().all(|(at, argument)| {
            if keys.next_if(|key| **key as usize == at).is_some() {
                is_key_alone(argument)
            } else {
                // The name may be written in any case.
                let other = others.next().map(|other| &**other);
                other.is_some_and(|other| {
                    other == argument || (at == 0 && other.eq_ignore_ascii_case(argument))
                })
            }
        })
    }
}

/// Whether no command can take this for a word or a number.
fn is_key_alone(key: &[u8]) -> bool {
    key.iter().any(|byte| b":{}/|#@~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::row_named;
    use crate::resp::{with_args, write};

    fn row() -> &'static Command {
        row_named("sort").expect("any row will do")
    }

    fn request(line: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write::command(&mut out, &line.split(' ').collect::<Vec<_>>());
        out
    }

    fn note(shapes: &mut KeyShapes, line: &str, keys: &str, limit: usize) {
        let keys: Vec<&[u8]> = keys.split_whitespace().map(str::as_bytes).collect();
        with_args(&request(line), |args| {
            shapes.note(row(), args, &keys, limit)
        });
    }

    fn found(shapes: &KeyShapes, line: &str) -> Option<Vec<u32>> {
        let found = with_args(&request(line), |args| {
            shapes.find(row(), args).map(<[u32]>::to_vec)
        });
        found.expect("it is a request")
    }

    /// contract: R2
    #[test]
    fn an_answer_holds_for_other_keys_and_nothing_else() {
        let mut shapes = KeyShapes::default();
        note(&mut shapes, "X.Y 2 a:1 a:2 FROM 7", "a:1 a:2", 10);
        assert_eq!(found(&shapes, "X.Y 2 b:1 {b} FROM 7"), Some(vec![2, 3]));
        assert_eq!(found(&shapes, "x.y 2 b:1 {b} FROM 7"), Some(vec![2, 3]));
        for other in [
            "X.Y 1 b:1 b:2 FROM 7",
            "X.Y 2 b:1 b:2 from 7",
            "X.Y 2 b:1 b:2 FROM 8",
            "X.Y 2 b:1 b:2 FROM",
            "X.Y 2 b:1 b:2 FROM 7 8",
            // These may be words, or numbers.
            "X.Y 2 FROM b:2 FROM 7",
            "X.Y 2 b:1 12 FROM 7",
        ] {
            assert_eq!(found(&shapes, other), None, "{other}");
        }
        // No keys at all.
        note(&mut shapes, "X.Y NONE", "", 10);
        assert_eq!(found(&shapes, "X.Y NONE"), Some(vec![]));
        assert_eq!(found(&shapes, "X.Y b:1"), None);
    }

    /// contract: R2
    #[test]
    fn what_is_not_certain_is_not_noted() {
        let mut shapes = KeyShapes::default();
        let value = "v".repeat(OTHER_BYTES_MAX);
        for (line, keys) in [
            ("X.Y a:1 a:1", "a:1"),
            ("X.Y plain x", "plain"),
            ("X.Y 12 x", "12"),
            ("X.Y a:1 x", "b:1"),
            (&format!("X.Y a:1 {value}"), "a:1"),
        ] {
            note(&mut shapes, line, keys, 10);
            assert_eq!(found(&shapes, line), None, "{line}");
        }
    }

    /// contract: F6
    #[test]
    fn there_are_not_more_than_allowed() {
        let mut shapes = KeyShapes::default();
        for number in 0..1000 {
            let words = " w".repeat(number % 20);
            note(&mut shapes, &format!("X.Y a:1 {number}{words}"), "a:1", 50);
            assert!(shapes.count <= 50);
            let counted: usize = shapes.shapes.values().map(Vec::len).sum();
            assert_eq!(counted, shapes.count);
        }
        note(&mut shapes, "X.Y a:1 none", "a:1", 0);
        assert_eq!(found(&shapes, "X.Y a:1 none"), None);
    }
}
