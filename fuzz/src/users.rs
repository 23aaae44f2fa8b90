//! A file of users and their rules: it is refused, or what is shown of the users makes the same ones.

use keyway::acl::read_file;

/// The lines that make the users of a file, if it is one.
fn shown(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let users = read_file(file).ok()?;
    Some(users.iter().map(|user| user.describe()).collect())
}

/// One input.
pub fn run(data: &[u8]) {
    let Some(lines) = shown(data) else { return };
    assert_eq!(shown(&lines.join(&b'\n')), Some(lines));
}
