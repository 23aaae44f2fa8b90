//! Lines of `INFO` whose value is a record: `db0:keys=3,expires=1,avg_ttl=500`.

/// The sections whose lines are records.
enum Kind {
    Keyspace,
    Commandstats,
    Errorstats,
    Latencystats,
}

/// Merges the records of one line, in the form of the first; `None` for sections without records.
pub(super) fn merge(section: &[u8], values: &[&[u8]]) -> Option<Vec<u8>> {
    let kind = match section {
        b"Keyspace" => Kind::Keyspace,
        b"Commandstats" => Kind::Commandstats,
        b"Errorstats" => Kind::Errorstats,
        b"Latencystats" => Kind::Latencystats,
        _ => return None,
    };
    let records: Vec<Vec<(&[u8], f64)>> = values.iter().map(|value| pairs(value)).collect();
    let sum = |name: &[u8]| -> f64 { records.iter().map(|record| field(record, name)).sum() };
    let mut out = Vec::new();
    for (name, _) in records.first()? {
        let value = match (&kind, *name) {
            // The mean over all keys that expire.
            (Kind::Keyspace, b"avg_ttl") => {
                let weighted = records
                    .iter()
                    .map(|record| field(record, b"avg_ttl") * field(record, b"expires"))
                    .sum::<f64>();
                format!("{:.0}", (weighted / sum(b"expires").max(1.0)).floor())
            }
            (Kind::Commandstats, b"usec_per_call") => {
                format!("{:.2}", sum(b"usec") / sum(b"calls").max(1.0))
            }
            // Percentiles cannot be joined; the worst node's is an upper bound.
            (Kind::Latencystats, _) => {
                let all = records.iter().map(|record| field(record, name));
                format!("{:.3}", all.fold(0.0, f64::max))
            }
            (Kind::Keyspace | Kind::Commandstats | Kind::Errorstats, _) => {
                format!("{:.0}", sum(name))
            }
        };
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
    }
    Some(out)
}

fn pairs(record: &[u8]) -> Vec<(&[u8], f64)> {
    let pair = |text| {
        let equals = memchr::memchr(b'=', text)?;
        let number = std::str::from_utf8(&text[equals + 1..])
            .ok()?
            .parse()
            .ok()?;
        Some((&text[..equals], number))
    };
    record
        .split(|byte| *byte == b',')
        .filter_map(pair)
        .collect()
}

fn field(record: &[(&[u8], f64)], name: &[u8]) -> f64 {
    let found = record.iter().find(|(known, _)| *known == name);
    found.map_or(0.0, |(_, number)| *number)
}
