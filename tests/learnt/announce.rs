//! What a scripted node says to `COMMAND`.

use crate::support::fake_view::{array, bulk, integer};

/// One command, as Redis 7 announces it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub name: String,
    pub arity: i64,
    pub flags: String,
    pub range: (i64, i64, i64),
    pub categories: String,
    pub tips: String,
    /// `1 -1 1`: from the first index to `lastkey` (relative, as servers say it), by `keystep`; `?` is
    /// unknown.
    pub specs: Vec<&'static str>,
    pub subcommands: Vec<Told>,
}

impl Told {
    /// A command with any number of arguments, these flags and this range of keys.
    pub fn new(name: &str, flags: &str, range: (i64, i64, i64)) -> Told {
        Told {
            name: name.to_owned(),
            arity: -1,
            flags: flags.to_owned(),
            range,
            ..Told::default()
        }
    }

    /// With another arity.
    pub fn arity(mut self, arity: i64) -> Told {
        self.arity = arity;
        self
    }

    /// With these tips.
    pub fn tips(mut self, tips: &str) -> Told {
        self.tips = tips.to_owned();
        self
    }

    /// With these key specifications.
    pub fn specs(mut self, specs: &[&'static str]) -> Told {
        self.specs = specs.to_vec();
        self
    }

    /// With these sub-commands.
    pub fn with(mut self, subcommands: &[Told]) -> Told {
        self.subcommands = subcommands.to_vec();
        self
    }

    fn render(&self) -> Vec<u8> {
        let simple = |words: &str| {
            let words = words.split_whitespace();
            array(
                &words
                    .map(|word| format!("+{word}\r\n").into_bytes())
                    .collect::<Vec<_>>(),
            )
        };
        let tips: Vec<Vec<u8>> = self.tips.split_whitespace().map(bulk).collect();
        let specs: Vec<Vec<u8>> = self.specs.iter().map(|spec| render_spec(spec)).collect();
        let subcommands: Vec<Vec<u8>> = self.subcommands.iter().map(Told::render).collect();
        array(&[
            bulk(&self.name),
            integer(self.arity),
            simple(&self.flags),
            integer(self.range.0),
            integer(self.range.1),
            integer(self.range.2),
            simple(&self.categories),
            array(&tips),
            array(&specs),
            array(&subcommands),
        ])
    }

    /// As Redis 6.2 says it.
    pub fn render_old(&self) -> Vec<u8> {
        let mut entry = b"*7\r\n".to_vec();
        let new = self.render();
        // The first seven of the ten fields.
        let text = String::from_utf8(new).expect("text");
        let end = text
            .rfind("*0\r\n*0\r\n*0\r\n")
            .expect("no tips, specs, sub-commands");
        entry.extend_from_slice(&text.as_bytes()["*10\r\n".len()..end]);
        entry
    }
}

fn render_spec(spec: &str) -> Vec<u8> {
    let map = |fields: &[(&str, Vec<u8>)]| {
        let fields = fields
            .iter()
            .flat_map(|(name, value)| [bulk(name), value.clone()]);
        array(&fields.collect::<Vec<_>>())
    };
    let numbers: Vec<i64> = spec
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let (begin, find) = match numbers.as_slice() {
        [index, last, step] => (
            map(&[
                ("type", bulk("index")),
                ("spec", map(&[("index", integer(*index))])),
            ]),
            map(&[
                ("type", bulk("range")),
                (
                    "spec",
                    map(&[
                        ("lastkey", integer(*last)),
                        ("keystep", integer(*step)),
                        ("limit", integer(0u8)),
                    ]),
                ),
            ]),
        ),
        _ => (
            map(&[("type", bulk("unknown")), ("spec", map(&[]))]),
            map(&[("type", bulk("unknown")), ("spec", map(&[]))]),
        ),
    };
    map(&[
        ("flags", array(&[b"+RW\r\n".to_vec()])),
        ("begin_search", begin),
        ("find_keys", find),
    ])
}

/// The reply to `COMMAND`.
pub fn listing(told: &[Told]) -> Vec<u8> {
    array(&told.iter().map(Told::render).collect::<Vec<_>>())
}
