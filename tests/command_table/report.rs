//! What a server's `COMMAND` says, in the table's terms.

use std::collections::BTreeMap;

use keyway::command::Keys;

use crate::server::{Reply, Server};

/// What a server's `COMMAND` says about one command, in the table's terms.
pub struct Report {
    pub arity: i64,
    pub access: &'static str,
    pub keys: Keys,
    pub policy: String,
    pub is_blocking: bool,
    pub is_admin: bool,
    /// It is a module's, as vector sets in Redis 8.
    pub is_of_module: bool,
}

pub fn reports(binary: &str) -> BTreeMap<String, Report> {
    let mut reports = BTreeMap::new();
    collect_reports(
        Server::start(binary).ask(&[b"COMMAND"]).array(),
        &mut reports,
    );
    reports
}

fn collect_reports(entries: &[Reply], reports: &mut BTreeMap<String, Report>) {
    for entry in entries {
        let [
            name,
            arity,
            flags,
            first,
            last,
            step,
            _,
            tips,
            specs,
            subcommands,
            ..,
        ] = entry.array()
        else {
            panic!("an entry of COMMAND has ten elements or more: {entry:?}");
        };
        let has = |flag: &str| flags.array().iter().any(|own| own.text() == flag);
        let tip = |name: &str| {
            let mut tips = tips.array().iter().map(Reply::text);
            tips.find_map(|tip| tip.strip_prefix(name).map(str::to_string))
                .unwrap_or_default()
        };
        let range = (first.integer(), last.integer(), step.integer());
        let report = Report {
            arity: arity.integer(),
            access: ["readonly", "write"]
                .into_iter()
                .find(|flag| has(flag))
                .unwrap_or_default(),
            keys: reported_keys(range, has("movablekeys"), specs.array()),
            policy: format!("{} {}", tip("request_policy:"), tip("response_policy:")),
            is_blocking: has("blocking"),
            is_admin: has("admin"),
            is_of_module: has("module"),
        };
        // Vector sets of Redis 8 are told in upper case.
        reports.insert(name.text().to_lowercase(), report);
        collect_reports(subcommands.array(), reports);
    }
}

/// The `keys` column a server's key specifications amount to.
fn reported_keys(range: (i64, i64, i64), is_movable: bool, specs: &[Reply]) -> Keys {
    let words: Vec<String> = specs
        .iter()
        .flat_map(|spec| {
            let begin = spec.field("begin_search");
            match begin.field("type").text().as_str() {
                "keyword" => vec![begin.field("spec").field("keyword").text()],
                "unknown" => vec!["unknown".to_string()],
                _ => vec![],
            }
        })
        .collect();
    let counted = specs
        .last()
        .filter(|spec| spec.field("find_keys").field("type").text() == "keynum");
    match (
        words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice(),
        counted,
    ) {
        (["STREAMS"], None) => Keys::Streams,
        (["STORE", "STOREDIST"], None) => Keys::GeoRadius,
        (["KEYS"], None) => Keys::Migrate,
        (["unknown", ..], None) => Keys::Sort,
        ([], Some(spec)) => {
            let index = spec
                .field("begin_search")
                .field("spec")
                .field("index")
                .integer() as u8;
            let found = spec.field("find_keys").field("spec");
            let count = index + found.field("keynumidx").integer() as u8;
            let first = index + found.field("firstkey").integer() as u8;
            let step = found.field("keystep").integer() as u8;
            match specs.len() {
                1 => Keys::Counted { count, first, step },
                _ => Keys::StoreCounted { count, first },
            }
        }
        ([], None) if range.0 == 0 => Keys::None,
        ([], None) => {
            assert!(!is_movable);
            Keys::Range {
                first: range.0 as u8,
                last: range.1 as i8,
                step: range.2 as u8,
            }
        }
        (words, _) => panic!("key specifications of a kind the table does not have: {words:?}"),
    }
}
