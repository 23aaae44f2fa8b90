//! Rules about the source itself, so that no reviewer has to look for them: which module may use
//! which, what inner modules never mention, how long a file is, and words that must not come back.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use. The arrows of ARCHITECTURE.md; a new one is added here and there.
#[rustfmt::skip]
const MAY_USE: &[(&str, &str)] = &[
    ("resp",      ""),
    ("command",   "resp"),
    ("cluster",   "resp command"),
    ("routing",   "resp command cluster"),
    ("acl",       "resp command cluster routing"),
    ("pipeline",  "resp command cluster routing"),
    ("upstream",  "resp command cluster routing pipeline acl config net telemetry"),
    ("client",    "resp command cluster routing pipeline acl config net telemetry"),
    ("worker",    "resp command cluster routing pipeline acl config net telemetry upstream client"),
    ("control",   "resp command cluster routing pipeline acl config net telemetry upstream client worker"),
    ("config",    ""),
    ("net",       ""),
    ("telemetry", ""),
];

/// Modules without I/O, clock and tokio.
const INNER: &[&str] = &["resp", "command", "cluster", "routing", "pipeline", "acl"];

/// What an inner module never mentions. Addresses (`std::net::IpAddr`) are data, and allowed.
const FORBIDDEN_INSIDE: &[&str] = &[
    "tokio",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime",
    ".elapsed()",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
];

/// How many rules each letter of the contract has.
const CONTRACT: &[(char, u32)] = &[
    ('P', 9),
    ('R', 13),
    ('M', 6),
    ('T', 8),
    ('S', 7),
    ('C', 7),
    ('F', 8),
];

const LINES_MAX: usize = 500;

#[test]
fn no_arrow_points_up() {
    let mut faults = Vec::new();
    for file in files_below("src", "rs") {
        let Some(module) = module_of(&file) else {
            continue;
        };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            faults.push(format!(
                "{}: module {module} is not in MAY_USE",
                show(&file)
            ));
            continue;
        };
        let code = code_without_tests(&read(&file));
        for used in used_modules(&code) {
            if used != module && !allowed.split(' ').any(|name| name == used) {
                faults.push(format!("{}: {module} uses {used}", show(&file)));
            }
        }
        if code.contains("super::super::") {
            faults.push(format!(
                "{}: say crate:: and not super::super::",
                show(&file)
            ));
        }
    }
    none(faults);
}

#[test]
fn inner_modules_do_no_io_and_read_no_clock() {
    let mut faults = Vec::new();
    for file in files_below("src", "rs") {
        if !module_of(&file).is_some_and(|module| INNER.contains(&module.as_str())) {
            continue;
        }
        let code = code_without_tests(&read(&file));
        for word in FORBIDDEN_INSIDE {
            if code.contains(word) {
                faults.push(format!("{}: mentions {word}", show(&file)));
            }
        }
    }
    none(faults);
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut faults = Vec::new();
    for (module, _) in MAY_USE {
        let file = root().join("src").join(module).join("mod.rs");
        if !fs::read_to_string(&file).is_ok_and(|text| text.starts_with("//! ")) {
            faults.push(format!("{}: does not begin with a paragraph", show(&file)));
        }
    }
    none(faults);
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for file in files_below(folder, "rs") {
            let lines = read(&file).lines().count();
            if lines > LINES_MAX {
                faults.push(format!("{}: {lines} lines", show(&file)));
            }
        }
    }
    none(faults);
}

#[test]
fn input_never_panics_by_unwrap() {
    let mut faults = Vec::new();
    for file in files_below("src", "rs") {
        if code_without_tests(&read(&file)).contains(".unwrap()") {
            faults.push(format!(
                "{}: .unwrap(); expect says why it holds",
                show(&file)
            ));
        }
    }
    none(faults);
}

#[test]
fn tests_wait_by_polling() {
    let mut faults = Vec::new();
    // Spelled so that this file does not find itself.
    let word = concat!("sle", "ep(");
    for file in files_below("tests", "rs") {
        if read(&file).contains(word) && !file.ends_with("support/eventually.rs") {
            faults.push(format!("{}: use support::eventually", show(&file)));
        }
    }
    none(faults);
}

#[test]
fn contract_tags_name_rules() {
    let mut faults = Vec::new();
    let tag = concat!("contra", "ct: ");
    for folder in ["src", "tests", "benches", "fuzz"] {
        for file in files_below(folder, "rs") {
            let text = read(&file);
            for (number, line) in text.lines().enumerate() {
                if let Some((_, rules)) = line.split_once(tag)
                    && !names_rules(rules)
                {
                    faults.push(format!("{}:{}: {}", show(&file), number + 1, line.trim()));
                }
            }
        }
    }
    none(faults);
}

/// Nothing says on which machine it was written.
#[test]
fn no_absolute_paths_of_somebodys_machine() {
    let mut faults = Vec::new();
    for file in all_files(&root()) {
        // Not text: not ours to read.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if has_machine_path(line) {
                faults.push(format!("{}:{}: {}", show(&file), number + 1, line.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn the_checks_themselves_see() {
    let used = |code: &str| used_modules(code).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(used("use crate::resp::Args;"), "resp");
    assert_eq!(
        used("use crate::{\n    net::Stream,\n    config::{a, b},\n};"),
        "config net"
    );
    assert_eq!(used("fn f(x: crate::cluster::Slot)"), "cluster");
    assert_eq!(
        code_without_tests("a // tokio\nb\n#[cfg(test)]\nc"),
        "a \nb\n"
    );
    for (rules, expected) in [
        ("R4", true),
        ("R13)", true),
        ("P1, C3.", true),
        ("R14", false),
        ("X1", false),
        ("yes", false),
    ] {
        assert_eq!(names_rules(rules), expected, "{rules}");
    }
    for (line, expected) in [
        (concat!("see /ho", "me/me/x"), true),
        (concat!("\"/ro", "ot/x\""), true),
        ("GET /live", false),
        (concat!("a/wo", "rk/b"), false),
    ] {
        assert_eq!(has_machine_path(line), expected, "{line}");
    }
}

#[track_caller]
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", show(file)))
}

fn show(file: &Path) -> String {
    let path = file.strip_prefix(root()).unwrap_or(file);
    path.display().to_string()
}

/// Every file of the project that is not made by a tool.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    const MADE: &[&str] = &[
        "target",
        ".git",
        "results",
        "node_modules",
        "corpus",
        "artifacts",
    ];
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return files;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        // In a linked work tree `.git` is a file, and says where.
        if MADE.iter().any(|made| name == *made) {
            continue;
        }
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let files = all_files(&root().join(folder)).into_iter();
    files
        .filter(|file| file.extension().is_some_and(|has| has == extension))
        .collect()
}

/// The module a file of `src` belongs to; none for `lib.rs` and `main.rs`.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root().join("src")).ok()?;
    let mut parts = relative.components();
    let first = parts.next()?.as_os_str().to_str()?;
    parts.next().map(|_| first.to_owned())
}

/// The code without comments, up to the tests at the end of the file.
fn code_without_tests(text: &str) -> String {
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    // A `//` inside a string cuts the line short, which hides nothing that matters here.
    let bare = code.map(|line| line.split("//").next().unwrap_or_default());
    bare.map(|line| format!("{line}\n")).collect()
}

/// The modules named after `crate::`, alone or in a group.
fn used_modules(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut used = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            used.insert(word(after));
            continue;
        };
        used.insert(word(group));
        let mut depth = 1;
        for (index, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    used.insert(word(&group[index + 1..]));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used.remove("");
    used
}

/// Whether the text begins with a rule of the contract, and goes on with more or something else.
fn names_rules(text: &str) -> bool {
    let first = text.split([',', ' ', ')', '.', ';', ':']).next();
    first.is_some_and(|rule| {
        let mut letters = rule.chars();
        let letter = letters.next();
        let number = letters.as_str().parse::<u32>();
        CONTRACT.iter().any(|&(known, count)| {
            letter == Some(known) && number.as_ref().is_ok_and(|n| (1..=count).contains(n))
        })
    })
}

/// Whether the line holds an absolute path below a folder that belongs to a person or a build
/// machine.
fn has_machine_path(line: &str) -> bool {
    let folders = ["home", "root", "Users", "work", "workspace", "builds"];
    folders.iter().any(|folder| {
        let prefix = format!("/{folder}/");
        line.match_indices(&prefix).any(|(index, _)| {
            let before = line[..index].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
        })
    })
}
