//! Parsing `COMMAND`: what one server says of the commands that the table does not know.
//!
//! Redis 6.2 gives seven fields for each command, Redis 7 and Valkey ten. An entry that makes no sense
//! is left out, and so is what is absurdly large: a server's word is not to be trusted (contract: F8).

use super::value::Value;
use crate::command::KeyUse;
use crate::command::announced::{Announced, AnnouncedBegin, AnnouncedFind, AnnouncedSpec};
use crate::command::learnt::is_news;

/// So many commands of one server are looked at.
const COMMANDS_MAX: usize = 20_000;
/// So many flags, categories, tips or specifications of one command.
const ITEMS_MAX: usize = 64;
/// Longer words are none that mean anything.
const WORD_BYTES_MAX: usize = 128;
/// No request has more arguments.
const ARGUMENTS_MAX: i64 = 1 << 20;

/// What a server announces that the table does not know, sub-commands behind their container; `None`
/// when the reply is no list of commands.
pub fn parse_news(reply: &Value) -> Option<Vec<Announced>> {
    parse_commands(reply, is_news)
}

/// What a server announces, as far as its names are wanted.
pub fn parse_commands(reply: &Value, is_wanted: impl Fn(&str) -> bool) -> Option<Vec<Announced>> {
    let mut announced = Vec::new();
    for entry in reply.list()?.iter().take(COMMANDS_MAX) {
        let Some(fields) = entry.list() else {
            continue;
        };
        let Some(command) = parse_command(fields) else {
            continue;
        };
        let container = command.name.clone();
        if is_wanted(&command.name) {
            announced.push(command);
        }
        let subcommands = fields.get(9).and_then(Value::list).unwrap_or_default();
        for entry in subcommands.iter().take(COMMANDS_MAX) {
            let Some(mut command) = entry.list().and_then(parse_command) else {
                continue;
            };
            if !command.name.contains('|') {
                command.name = format!("{container}|{}", command.name);
            }
            command.is_container = false;
            if is_wanted(&command.name) {
                announced.push(command);
            }
        }
        if announced.len() > COMMANDS_MAX {
            break;
        }
    }
    Some(announced)
}

fn parse_command(fields: &[Value]) -> Option<Announced> {
    let name = fields.first()?.text()?.to_owned();
    let number = |at: usize| fields.get(at).and_then(Value::integer).and_then(small);
    let words = |at: usize| -> Vec<String> {
        let items = fields.get(at).and_then(Value::list).unwrap_or_default();
        let words = items.iter().take(ITEMS_MAX).filter_map(Value::text);
        words
            .filter(|word| word.len() <= WORD_BYTES_MAX)
            .map(str::to_owned)
            .collect()
    };
    let specs = fields.get(8).and_then(Value::list).unwrap_or_default();
    let subcommands = fields.get(9).and_then(Value::list).unwrap_or_default();
    let mut command = Announced {
        name,
        arity: i16::try_from(number(1)?).ok()?,
        flags: words(2),
        range: (
            number(3).unwrap_or(0),
            number(4).unwrap_or(0),
            number(5).unwrap_or(0),
        ),
        categories: words(6),
        tips: words(7),
        specs: specs.iter().take(ITEMS_MAX).map(parse_spec).collect(),
        is_container: !subcommands.is_empty(),
    };
    // Some servers say sets, whose order means nothing: what is the same must look the same.
    command.flags.sort_unstable();
    command.categories.sort_unstable();
    command.tips.sort_unstable();
    Some(command)
}

fn parse_spec(spec: &Value) -> AnnouncedSpec {
    let flags = spec
        .field("flags")
        .and_then(Value::list)
        .unwrap_or_default();
    // Redis says it in capitals where it is short: `RO`, and here in lower case.
    let has = |wanted: &str| {
        let mut flags = flags.iter().filter_map(Value::text);
        flags.any(|flag| flag.eq_ignore_ascii_case(wanted))
    };
    // Who says no more than "RW" has not said what it does.
    let says_use = ["RO", "access", "insert", "update", "delete"]
        .into_iter()
        .any(has);
    AnnouncedSpec {
        begin: spec.field("begin_search").and_then(parse_begin),
        find: spec.field("find_keys").and_then(parse_find),
        is_incomplete: has("incomplete"),
        key_use: says_use.then(|| KeyUse {
            reads: has("access"),
            writes: has("insert") || has("update") || has("delete"),
        }),
    }
}

fn parse_begin(begin: &Value) -> Option<AnnouncedBegin> {
    let spec = begin.field("spec")?;
    match begin.field("type")?.text()? {
        "index" => Some(AnnouncedBegin::Index(positive(spec, "index")?)),
        "keyword" => {
            let word = spec.field("keyword")?.text()?;
            let from = spec.field("startfrom")?.integer().and_then(small)?;
            (word.len() <= WORD_BYTES_MAX).then(|| AnnouncedBegin::Keyword(word.to_owned(), from))
        }
        _ => None,
    }
}

fn parse_find(find: &Value) -> Option<AnnouncedFind> {
    let spec = find.field("spec")?;
    match find.field("type")?.text()? {
        "range" => Some(AnnouncedFind::Range {
            last: spec.field("lastkey")?.integer().and_then(small)?,
            step: positive(spec, "keystep")?,
            limit: positive(spec, "limit")?,
        }),
        "keynum" => Some(AnnouncedFind::Counted {
            count: positive(spec, "keynumidx")?,
            first: positive(spec, "firstkey")?,
            step: positive(spec, "keystep")?,
        }),
        _ => None,
    }
}

fn positive(spec: &Value, field: &str) -> Option<u32> {
    let number = spec.field(field)?.integer().and_then(small)?;
    u32::try_from(number).ok()
}

/// A number of arguments, or a position among them.
fn small(number: i64) -> Option<i32> {
    let is_small = (-ARGUMENTS_MAX..=ARGUMENTS_MAX).contains(&number);
    is_small
        .then_some(number)
        .and_then(|n| i32::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Protocol;
    use proptest::prelude::*;

    /// `text` with `;` for each line break of RESP.
    fn parse(text: &str, protocol: Protocol) -> Option<Vec<Announced>> {
        let bytes = text.replace(';', "\r\n");
        parse_news(&Value::decode(bytes.as_bytes(), protocol).expect("well formed"))
    }

    fn bulk(text: &str) -> String {
        format!("${};{text};", text.len())
    }

    /// contract: R2
    #[test]
    fn redis_six_gives_seven_fields() {
        let entry = |name: &str| {
            format!(
                "*7;{}:-3;*2;+write;+denyoom;:1;:1;:1;*2;+@write;+@slow;",
                bulk(name)
            )
        };
        let reply = format!("*3;{}{}*0;", entry("get"), entry("JSON.SET"));
        let commands = parse(&reply, Protocol::Resp2).expect("a list");
        assert_eq!(commands.len(), 1, "{commands:?}");
        let command = &commands[0];
        assert_eq!((command.name.as_str(), command.arity), ("JSON.SET", -3));
        assert_eq!(command.flags, ["denyoom", "write"]);
        assert_eq!(command.range, (1, 1, 1));
        assert_eq!(command.categories, ["@slow", "@write"]);
        assert!(command.specs.is_empty() && !command.is_container);
    }

    /// contract: R2, P1
    #[test]
    fn later_ones_give_ten_in_either_version() {
        let (index, range) = (bulk("index"), bulk("range"));
        for (protocol, pairs, set) in [(Protocol::Resp2, 2, '*'), (Protocol::Resp3, 1, '%')] {
            let map = |fields: &[(&str, String)]| {
                let fields_text: String = fields
                    .iter()
                    .map(|(name, value)| bulk(name) + value)
                    .collect();
                format!("{set}{};{fields_text}", fields.len() * pairs)
            };
            let spec = |begin: String, find: String| {
                map(&[
                    ("flags", "*2;+RO;+incomplete;".to_owned()),
                    ("begin_search", begin),
                    ("find_keys", find),
                ])
            };
            let known = spec(
                map(&[
                    ("type", bulk("keyword")),
                    (
                        "spec",
                        map(&[("keyword", bulk("KEYS")), ("startfrom", ":-2;".into())]),
                    ),
                ]),
                map(&[
                    ("type", bulk("keynum")),
                    (
                        "spec",
                        map(&[
                            ("keynumidx", ":0;".into()),
                            ("firstkey", ":1;".into()),
                            ("keystep", ":2;".into()),
                        ]),
                    ),
                ]),
            );
            let plain = spec(
                map(&[
                    ("type", index.clone()),
                    ("spec", map(&[("index", ":1;".into())])),
                ]),
                map(&[
                    ("type", range.clone()),
                    (
                        "spec",
                        map(&[
                            ("lastkey", ":-1;".into()),
                            ("keystep", ":1;".into()),
                            ("limit", ":0;".into()),
                        ]),
                    ),
                ]),
            );
            let unknown = spec(
                map(&[("type", bulk("unknown")), ("spec", map(&[]))]),
                map(&[("type", bulk("unknown")), ("spec", map(&[]))]),
            );
            let sub = |name: &str| format!("*10;{}:2;*0;:0;:0;:0;*0;*0;*0;*0;", bulk(name));
            let reply = format!(
                "*2;*10;{}:-2;*1;+readonly;:0;:0;:0;*0;*1;{}*3;{known}{plain}{unknown}*2;{}{}\
                 *10;{}:-2;*0;:0;:0;:0;*0;*0;*0;*2;{}{}",
                bulk("ft.x"),
                bulk("request_policy:all_shards"),
                sub("ft.x|get"),
                sub("set"),
                bulk("client"),
                sub("client|id"),
                sub("client|later"),
            );
            let commands = parse(&reply, protocol).expect("a list");
            let names: Vec<&str> = commands.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names, ["ft.x", "ft.x|get", "ft.x|set", "client|later"]);
            assert!(commands[0].is_container && !commands[1].is_container);
            assert_eq!(commands[0].tips, ["request_policy:all_shards"]);
            let [known, plain, unknown] = commands[0].specs.as_slice() else {
                panic!("three specifications: {:?}", commands[0].specs);
            };
            assert_eq!(
                known.begin,
                Some(AnnouncedBegin::Keyword("KEYS".into(), -2))
            );
            let counted = AnnouncedFind::Counted {
                count: 0,
                first: 1,
                step: 2,
            };
            assert_eq!(known.find, Some(counted));
            assert!(known.is_incomplete);
            assert_eq!(plain.begin, Some(AnnouncedBegin::Index(1)));
            let all = AnnouncedFind::Range {
                last: -1,
                step: 1,
                limit: 0,
            };
            assert_eq!(plain.find, Some(all));
            assert_eq!((&unknown.begin, unknown.find), (&None, None));
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("index"),
            Just("begin_search"),
            Just("find_keys"),
            Just("spec"),
            Just("type"),
            Just("range"),
            Just("x.y"),
            Just("client|x")
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            word.prop_map(|word| Value::Text(word.as_bytes().to_vec())),
            Just(Value::Text(vec![0xff])),
        ];
        leaf.prop_recursive(5, 200, 12, |inner| {
            proptest::collection::vec(inner, 0..12).prop_map(Value::List)
        })
    }

    proptest! {
        /// contract: F8
        #[test]
        fn nothing_panics(value in any_value()) {
            let _ = parse_news(&value);
            let _ = parse_commands(&value, |_| true);
        }
    }
}
