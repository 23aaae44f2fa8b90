//! Tables in README.md that are printed from the data they speak of.

use std::fs;
use std::path::PathBuf;

/// Holds what stands between the markers of each name against what should; with
/// `KEYWAY_WRITE_DOCUMENTS` it is written anew.
#[track_caller]
pub fn check_tables(tables: &[(&str, String)]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).expect("README.md is there");
    let expected = tables.iter().fold(text.clone(), |text, (name, content)| {
        with_block(&text, name, content)
    });
    if std::env::var_os("KEYWAY_WRITE_DOCUMENTS").is_some() {
        fs::write(path, expected).expect("README.md can be written");
        return;
    }
    assert!(
        text == expected,
        "the tables of README.md are out of date: run \
         KEYWAY_WRITE_DOCUMENTS=1 cargo test --test documents --test differential readme"
    );
}

/// Puts `content` between the markers of `name`.
fn with_block(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .expect("README.md has the opening marker");
    let (_, after) = rest
        .split_once(&end)
        .expect("README.md has the closing marker");
    format!("{before}{begin}{content}{end}{after}")
}
