//! Certificates, keys and roots as they lie in files.

use std::fs;
use std::path::Path;

use thiserror::Error;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

/// A file that cannot be used, or files that do not fit together. What a key holds is never shown.
#[derive(Debug, Error)]
pub enum TlsFileError {
    /// It cannot be read, or is no PEM.
    #[error("{path}: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key, each fine for itself.
    #[error("{certificate} and {key} do not fit together: {reason}")]
    Mismatched {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What rustls said.
        reason: rustls::Error,
    },
    /// The system's roots cannot be found.
    #[error("the system has no root certificates that can be used: {0}")]
    NoRoots(String),
}

impl TlsFileError {
    pub(super) fn unusable(path: &Path, reason: impl ToString) -> TlsFileError {
        TlsFileError::Unusable {
            path: path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

/// A certificate chain, the own certificate first.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| wrong_pem(path, &error))?;
    match chain.is_empty() {
        true => Err(TlsFileError::unusable(path, "it holds no PEM certificate")),
        false => Ok(chain),
    }
}

/// A private key: PKCS#8, PKCS#1 or SEC1.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsFileError::unusable(
            path,
            "it holds no PEM private key (an encrypted one cannot be used)",
        ),
        other => wrong_pem(path, &other),
    })
}

/// Certificates that others are verified with.
pub(super) fn read_roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsFileError::unusable(path, error))?;
    }
    Ok(roots)
}

/// Those of the system: its own store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. They are maintained
/// where everything else on the machine is; roots that are built in grow old with the program.
pub(super) fn system_roots() -> Result<RootCertStore, TlsFileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => {
            let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            let reasons = match reasons.is_empty() {
                true => "there is none".to_owned(),
                false => reasons.join("; "),
            };
            Err(TlsFileError::NoRoots(reasons))
        }
        false => Ok(roots),
    }
}

/// No certificate is larger; another file was named by mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unusable = |error: std::io::Error| TlsFileError::unusable(path, error);
    let found = fs::metadata(path).map_err(unusable)?;
    if !found.is_file() {
        return Err(TlsFileError::unusable(path, "it is no file"));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(TlsFileError::unusable(path, "it is longer than 4 MB"));
    }
    fs::read(path).map_err(unusable)
}

/// The parser's own words may repeat what it read.
fn wrong_pem(path: &Path, error: &pem::Error) -> TlsFileError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section in it has no end",
        pem::Error::NoItemsFound => "it holds nothing in PEM form",
        _ => "it is not PEM",
    };
    TlsFileError::unusable(path, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_and_its_content_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.pem");
        for (content, reason) in [
            ("hunter2", "it holds no PEM private key"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "an encrypted one cannot be used",
            ),
            ("-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n", "has no end"),
            (
                "-----BEGIN PRIVATE KEY-----\n%%%hunter2\n-----END PRIVATE KEY-----\n",
                "it is not PEM",
            ),
        ] {
            fs::write(&path, content).expect("ours");
            let told = read_key(&path).expect_err(content).to_string();
            assert!(told.contains(reason), "{told}");
            assert!(
                !told.contains("hunter2") && !told.contains("aHVu"),
                "{told}"
            );
        }
        let missing = folder.path().join("missing.pem");
        assert!(read_chain(&missing).is_err());
        let told = read_chain(folder.path()).expect_err("a folder").to_string();
        assert!(told.contains("it is no file"), "{told}");
    }
}
