//! Whether files have changed since they were read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What files looked like when they were read: content that is replaced, rewritten, or reached through a
/// symbolic link that points elsewhere now (as Kubernetes does it) looks different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Option<[i64; 7]>>);

impl Fingerprint {
    /// As the files are now; one that is missing looks different from any other.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Fingerprint {
        let look = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some([
                found.dev() as i64,
                found.ino() as i64,
                found.size() as i64,
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ])
        };
        Fingerprint(files.into_iter().map(look).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_link_looks_different() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for version in ["a", "b"] {
            fs::create_dir(at(version)).expect("ours");
            fs::write(at(version).join("tls.crt"), "the same").expect("ours");
        }
        std::os::unix::fs::symlink("a", at("..data")).expect("ours");
        std::os::unix::fs::symlink("..data/tls.crt", at("tls.crt")).expect("ours");
        let files = [at("tls.crt")];
        let before = Fingerprint::of(&files);
        assert_eq!(before, Fingerprint::of(&files));
        std::os::unix::fs::symlink("b", at("..new")).expect("ours");
        fs::rename(at("..new"), at("..data")).expect("ours");
        let after = Fingerprint::of(&files);
        assert_ne!(before, after);
        fs::remove_file(at("b").join("tls.crt")).expect("ours");
        assert_ne!(after, Fingerprint::of(&files));
    }
}
