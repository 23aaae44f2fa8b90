//! The text format that Prometheus scrapes (version 0.0.4).

use std::fmt::{Display, Write};

/// The `Content-Type` of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page being written: families one after the other, each followed by its samples.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a metric; the samples that follow are its.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.line(format_args!(
            "# HELP {name} {}",
            help.replace('\\', r"\\").replace('\n', r"\n")
        ));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One value of the metric. `suffix` is empty but for the parts of a histogram.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut line = format!("{}{suffix}", self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            line.push(if index == 0 { '{' } else { ',' });
            line.push_str(label);
            line.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => line.push_str(r"\\"),
                    '"' => line.push_str(r#"\""#),
                    '\n' => line.push_str(r"\n"),
                    other => line.push(other),
                }
            }
            line.push('"');
        }
        if !labels.is_empty() {
            line.push('}');
        }
        self.line(format_args!("{line} {value}"));
    }

    /// The finished page.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes every write");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_help_are_escaped() {
        let mut page = Exposition::default();
        page.family("a_total", "counter", "back\\slash and\nline");
        page.sample("", &[], 1);
        page.sample("_x", &[("k", "q\"u\\o\n"), ("l", "m")], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP a_total back\\\\slash and\\nline\n# TYPE a_total counter\na_total 1\na_total_x{k=\"q\\\"u\\\\o\\n\",l=\"m\"} 0.5\n"
        );
    }
}
