//! The text of `INFO` from every primary, as one server would give it (contract: C3 C6).
//!
//! Who answers is this Keyway (process, port, clients, role); how much there is, is the sum over
//! the primaries; everything else is the first primary's word. To give a field another rule, add it
//! to [`rule`]; fields that no rule names follow their section's habit.

use std::collections::HashMap;

use super::{Misfit, records};
use crate::resp::{Protocol, reply, write};

/// What this Keyway says of itself in `INFO`.
#[derive(Clone, Copy, Debug, Default)]
pub struct InfoFacts<'a> {
    /// Whether the section `Keyway` was asked for.
    pub is_shown: bool,
    /// Keyway's version.
    pub version: &'a str,
    /// 40 hex digits, drawn when the process started.
    pub run_id: &'a str,
    /// Process id.
    pub process_id: u32,
    /// The port that clients connect to.
    pub tcp_port: u16,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// Clients of all workers.
    pub connected_clients: u64,
    /// Those that wait for a command that blocks, or for the end of a pause.
    pub blocked_clients: u64,
    /// How many clients are let in.
    pub clients_max: u64,
    /// Path of the program.
    pub executable: &'a str,
    /// Path of the configuration file; empty without one.
    pub config_file: &'a str,
    /// Version of the topology in use.
    pub topology_version: u64,
    /// Primaries that own slots.
    pub primaries: usize,
    /// Replicas.
    pub replicas: usize,
}

/// How the values of one field become one.
enum Rule {
    /// The first primary's value.
    First,
    /// Added; anything that is no number falls back to the first value.
    Sum,
    /// The sum of a field, 0 if one of the values is 0: no limit.
    Limit(&'static str),
    Max,
    Min,
    Mean,
    /// `ok` only if all say so.
    Worst,
    /// The sum of another field, for people.
    Human(&'static str),
    /// As `Limit`, for people.
    HumanLimit(&'static str),
    /// The sum of one field over the sum of another.
    Ratio(&'static str, &'static str),
    /// As `Ratio`, in percent.
    Percent(&'static str, &'static str),
    /// The data set's share of the memory that was not there from the start.
    DatasetPercent,
    /// Keyway's own.
    Own(String),
    /// The line is left out.
    Omit,
}

/// Merges the texts, and adds the section `Keyway` when it was asked for.
pub(super) fn merge<'a>(
    protocol: Protocol,
    replies: impl Iterator<Item = &'a [u8]>,
    facts: &InfoFacts<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut report = Report::default();
    let mut parts = 0;
    for (part, reply) in replies.enumerate() {
        report.add(reply::text(reply).ok_or(Misfit::Shape(part, "text"))?);
        parts += 1;
    }
    if parts == 0 {
        return Err(Misfit::NoParts);
    }
    write::verbatim(out, protocol, &report.write(facts));
    Ok(())
}

struct Field<'a> {
    name: &'a [u8],
    /// One for each part that has the field.
    values: Vec<&'a [u8]>,
}

struct Section<'a> {
    name: &'a [u8],
    fields: Vec<Field<'a>>,
}

/// All parts, field by field, in the order in which sections and fields were first seen.
#[derive(Default)]
struct Report<'a> {
    sections: Vec<Section<'a>>,
    /// Where each field is: section, and place in it.
    places: HashMap<(usize, &'a [u8]), usize>,
}

impl<'a> Report<'a> {
    fn add(&mut self, text: &'a [u8]) {
        let mut current = None;
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(name) = line.strip_prefix(b"# ") {
                current = Some(self.section(name));
                continue;
            }
            let Some(index) = current else { continue };
            let Some(section) = self.sections.get_mut(index) else {
                continue;
            };
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            // Every module has a line of the same name.
            let name = match section.name {
                b"Modules" => line,
                _ => &line[..colon],
            };
            let place = *self
                .places
                .entry((index, name))
                .or_insert(section.fields.len());
            if place == section.fields.len() {
                section.fields.push(Field {
                    name,
                    values: Vec::new(),
                });
            }
            if let Some(field) = section.fields.get_mut(place) {
                field.values.push(&line[colon + 1..]);
            }
        }
    }

    fn section(&mut self, name: &'a [u8]) -> usize {
        if let Some(index) = self.sections.iter().position(|known| known.name == name) {
            return index;
        }
        self.sections.push(Section {
            name,
            fields: Vec::new(),
        });
        self.sections.len() - 1
    }

    /// The numbers that the parts give for a field.
    fn numbers(&self, name: &str) -> impl Iterator<Item = f64> {
        let fields = self.sections.iter().flat_map(|section| &section.fields);
        fields
            .filter(move |field| field.name == name.as_bytes())
            .flat_map(|field| &field.values)
            .filter_map(|value| number(value))
    }

    /// The sum of a field over the parts, 0 when no part has it.
    fn total(&self, name: &str) -> f64 {
        self.numbers(name).sum()
    }

    /// As `total`, but one part without a limit leaves the whole without.
    fn limit(&self, name: &str) -> f64 {
        if self.numbers(name).any(|limit| limit == 0.0) {
            return 0.0;
        }
        self.total(name)
    }

    fn write(&self, facts: &InfoFacts<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for section in &self.sections {
            head(section.name, &mut out);
            for field in &section.fields {
                if section.name == b"Modules" {
                    line(field.name, &mut out);
                } else if let Some(value) = self.value(section.name, field, facts) {
                    line(&[field.name, b":", &value].concat(), &mut out);
                }
            }
        }
        if facts.is_shown {
            head(b"Keyway", &mut out);
            for (name, value) in [
                ("keyway_version", facts.version.to_owned()),
                ("topology_version", facts.topology_version.to_string()),
                ("primaries", facts.primaries.to_string()),
                ("replicas", facts.replicas.to_string()),
            ] {
                line(format!("{name}:{value}").as_bytes(), &mut out);
            }
        }
        out
    }

    fn value(&self, section: &[u8], field: &Field<'a>, facts: &InfoFacts<'_>) -> Option<Vec<u8>> {
        let values = &field.values;
        let first = values.first().copied().unwrap_or_default();
        if let Some(merged) = records::merge(section, values) {
            return Some(merged);
        }
        Some(match rule(section, field.name, facts) {
            Rule::First => first.to_vec(),
            Rule::Sum => fold(values, |total, value| total + value),
            Rule::Max => fold(values, f64::max),
            Rule::Min => fold(values, f64::min),
            Rule::Mean => {
                let sum: f64 = values.iter().filter_map(|value| number(value)).sum();
                format!("{:.*}", decimals(first), sum / values.len() as f64).into_bytes()
            }
            Rule::Limit(of) => format!("{:.0}", self.limit(of)).into_bytes(),
            Rule::Worst => {
                let worst = values.iter().find(|value| **value != b"ok");
                worst.copied().unwrap_or(first).to_vec()
            }
            Rule::Human(of) => human(self.total(of)).into_bytes(),
            Rule::HumanLimit(of) => human(self.limit(of)).into_bytes(),
            Rule::Ratio(dividend, divisor) => {
                let ratio = over(self.total(dividend), self.total(divisor));
                format!("{ratio:.2}").into_bytes()
            }
            Rule::Percent(dividend, divisor) => percent(self.total(dividend), self.total(divisor)),
            Rule::DatasetPercent => {
                let grown = self.total("used_memory") - self.total("used_memory_startup");
                percent(self.total("used_memory_dataset"), grown)
            }
            Rule::Own(value) => value.into_bytes(),
            Rule::Omit => return None,
        })
    }
}

fn head(section: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    line(&[b"# ", section].concat(), out);
}

fn line(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// What happens to a field.
fn rule(section: &[u8], name: &[u8], facts: &InfoFacts<'_>) -> Rule {
    let own = |value: &dyn ToString| Rule::Own(value.to_string());
    match (section, name) {
        (b"Server", b"redis_mode" | b"server_mode") => own(&"standalone"),
        (b"Server", b"process_id") => own(&facts.process_id),
        (b"Server", b"run_id") => own(&facts.run_id),
        (b"Server", b"tcp_port") => own(&facts.tcp_port),
        (b"Server", b"uptime_in_seconds") => own(&facts.uptime_seconds),
        (b"Server", b"uptime_in_days") => own(&(facts.uptime_seconds / 86_400)),
        (b"Server", b"executable") => own(&facts.executable),
        (b"Server", b"config_file") => own(&facts.config_file),
        // Where the node listens is nobody's business here.
        (b"Server", name) if name.starts_with(b"listener") => Rule::Omit,
        (b"Server", _) => Rule::First,
        (b"Clients", b"connected_clients") => own(&facts.connected_clients),
        (b"Clients", b"blocked_clients") => own(&facts.blocked_clients),
        (b"Clients", b"maxclients") => own(&facts.clients_max),
        (b"Clients", b"cluster_connections") => own(&0),
        (b"Clients", name) if name.starts_with(b"client_recent_max") => Rule::Max,
        (b"Clients", _) => Rule::Sum,
        (b"Memory", name) => memory_rule(name),
        (b"Persistence", name) => persistence_rule(name),
        (b"Stats", b"expired_stale_perc" | b"instantaneous_eventloop_duration_usec") => Rule::Mean,
        (
            b"Stats",
            b"latest_fork_usec" | b"current_eviction_exceeded_time" | b"current_active_defrag_time",
        ) => Rule::Max,
        (b"Stats", _) => Rule::Sum,
        (b"Replication", b"role") => own(&"master"),
        (b"Replication", b"connected_slaves" | b"replicas_waiting_psync") => own(&0),
        (b"Replication", b"master_failover_state") => own(&"no-failover"),
        (b"Replication", b"master_replid") => own(&facts.run_id),
        (b"Replication", b"master_replid2") => own(&"0".repeat(40)),
        (b"Replication", b"second_repl_offset") => own(&-1),
        (
            b"Replication",
            b"master_repl_offset"
            | b"repl_backlog_active"
            | b"repl_backlog_first_byte_offset"
            | b"repl_backlog_histlen",
        ) => own(&0),
        (b"Replication", b"repl_backlog_size") => Rule::First,
        // `slaveN` and what a replica says of its primary.
        (b"Replication", _) => Rule::Omit,
        (b"CPU", _) => Rule::Sum,
        (b"Cluster", b"cluster_enabled") => own(&0),
        _ => Rule::First,
    }
}

fn memory_rule(name: &[u8]) -> Rule {
    match name {
        b"used_memory_human" => Rule::Human("used_memory"),
        b"used_memory_rss_human" => Rule::Human("used_memory_rss"),
        b"used_memory_peak_human" => Rule::Human("used_memory_peak"),
        b"total_system_memory_human" => Rule::Human("total_system_memory"),
        b"used_memory_lua_human" => Rule::Human("used_memory_lua"),
        b"used_memory_vm_total_human" => Rule::Human("used_memory_vm_total"),
        b"used_memory_scripts_human" => Rule::Human("used_memory_scripts"),
        b"maxmemory" => Rule::Limit("maxmemory"),
        b"maxmemory_human" => Rule::HumanLimit("maxmemory"),
        b"used_memory_peak_perc" => Rule::Percent("used_memory", "used_memory_peak"),
        b"used_memory_dataset_perc" => Rule::DatasetPercent,
        b"allocator_frag_ratio" => Rule::Ratio("allocator_active", "allocator_allocated"),
        b"allocator_rss_ratio" => Rule::Ratio("allocator_resident", "allocator_active"),
        b"rss_overhead_ratio" => Rule::Ratio("used_memory_rss", "allocator_resident"),
        b"mem_fragmentation_ratio" => Rule::Ratio("used_memory_rss", "used_memory"),
        // The same scripts and functions are on every primary.
        b"number_of_cached_scripts" | b"number_of_functions" | b"number_of_libraries" => Rule::Max,
        b"active_defrag_running" => Rule::Max,
        b"maxmemory_policy" | b"mem_allocator" => Rule::First,
        _ => Rule::Sum,
    }
}

fn persistence_rule(name: &[u8]) -> Rule {
    match name {
        b"rdb_changes_since_last_save"
        | b"rdb_saves"
        | b"rdb_last_load_keys_expired"
        | b"rdb_last_load_keys_loaded"
        | b"aof_rewrites"
        | b"aof_current_size"
        | b"aof_base_size"
        | b"aof_buffer_length"
        | b"aof_pending_bio_fsync"
        | b"aof_delayed_fsync"
        | b"current_save_keys_processed"
        | b"current_save_keys_total" => Rule::Sum,
        b"rdb_last_save_time" => Rule::Min,
        name if name.ends_with(b"_status") => Rule::Worst,
        _ => Rule::Max,
    }
}

fn number(value: &[u8]) -> Option<f64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn over(dividend: f64, divisor: f64) -> f64 {
    if divisor == 0.0 {
        0.0
    } else {
        dividend / divisor
    }
}

fn percent(dividend: f64, divisor: f64) -> Vec<u8> {
    format!("{:.2}%", over(dividend, divisor) * 100.0).into_bytes()
}

/// Digits behind the point.
fn decimals(value: &[u8]) -> usize {
    memchr::memchr(b'.', value).map_or(0, |point| value.len() - point - 1)
}

/// Folds numbers and writes the result as precisely as the first; anything that is no number makes
/// the result the first value. A sum beyond 2^53 bytes would be rounded; nobody has that memory.
fn fold(values: &[&[u8]], fold: impl Fn(f64, f64) -> f64) -> Vec<u8> {
    let first = values.first().copied().unwrap_or_default();
    let mut result = None;
    for value in values {
        let Some(value) = number(value).filter(|value| value.is_finite()) else {
            return first.to_vec();
        };
        result = Some(result.map_or(value, |result| fold(result, value)));
    }
    format!("{:.*}", decimals(first), result.unwrap_or(0.0)).into_bytes()
}

/// A number of bytes as Redis writes it for people.
fn human(bytes: f64) -> String {
    if bytes < 1024.0 {
        return format!("{bytes:.0}B");
    }
    let mut scaled = bytes;
    for unit in ["K", "M", "G", "T"] {
        scaled /= 1024.0;
        if scaled < 1024.0 {
            return format!("{scaled:.2}{unit}");
        }
    }
    format!("{:.2}P", scaled / 1024.0)
}
