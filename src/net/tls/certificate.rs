//! What a certificate says: when it ends, and whom it names.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged, oid::AssociatedOid, oid::ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::Expiry;

/// Which part of a client's certificate is its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityRule {
    /// None.
    #[default]
    Off,
    /// The common name of the subject.
    CommonName,
    /// The first DNS name of the subject's alternative names.
    Dns,
    /// The first URI of them (SPIFFE).
    Uri,
    /// The first e-mail address of them.
    Email,
}

/// Longer names are none.
const NAME_BYTES_MAX: usize = 256;
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

impl IdentityRule {
    /// The name in a certificate that was verified. Text only: no spaces, no control characters, since it
    /// is shown in `CLIENT LIST` and in log lines.
    pub fn name(self, certificate: &CertificateDer<'_>) -> Option<String> {
        if self == IdentityRule::Off {
            return None;
        }
        let certificate = Certificate::from_der(certificate).ok()?;
        let name = match self {
            IdentityRule::Off => None,
            IdentityRule::CommonName => common_name(&certificate),
            IdentityRule::Dns => alternative(&certificate, |name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
                _ => None,
            }),
            IdentityRule::Uri => alternative(&certificate, |name| match name {
                GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
                _ => None,
            }),
            IdentityRule::Email => alternative(&certificate, |name| match name {
                GeneralName::Rfc822Name(name) => Some(name.as_str().to_owned()),
                _ => None,
            }),
        };
        name.filter(|name| {
            let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain)
        })
    }
}

/// The last one, which is the most specific.
fn common_name(certificate: &Certificate) -> Option<String> {
    let subject = &certificate.tbs_certificate.subject;
    let parts = subject.0.iter().rev().flat_map(|part| part.0.iter());
    let mut names = parts.filter(|part| part.oid == COMMON_NAME);
    let value = &names.next()?.value;
    match value.tag() {
        Tag::Utf8String => Some(Utf8StringRef::try_from(value).ok()?.as_str().to_owned()),
        Tag::PrintableString => Some(
            PrintableStringRef::try_from(value)
                .ok()?
                .as_str()
                .to_owned(),
        ),
        Tag::TeletexString => Some(TeletexStringRef::try_from(value).ok()?.as_str().to_owned()),
        _ => None,
    }
}

fn alternative(
    certificate: &Certificate,
    pick: impl Fn(&GeneralName) -> Option<String>,
) -> Option<String> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == SubjectAltName::OID)?;
    let names = SubjectAltName::from_der(found.extn_value.as_bytes()).ok()?;
    names.0.iter().find_map(pick)
}

/// When the first certificate to end does; none that can be read has no end.
pub(super) fn expiry(chain: &[CertificateDer<'_>]) -> Option<Expiry> {
    let end = |certificate: &CertificateDer<'_>| {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate.validity;
        Some(validity.not_after.to_unix_duration().as_secs())
    };
    let at = chain.iter().filter_map(end).min()?;
    Some(Expiry { at })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_as_the_rule_says() {
        let mut params = CertificateParams::new(vec!["app.example".to_owned()]).expect("a name");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "app");
        for name in ["spiffe://example/app", "spiffe://example/other"] {
            let name = name.try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(name));
        }
        let email = "app@example".try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::Rfc822Name(email));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        for (rule, expected) in [
            (IdentityRule::Off, None),
            (IdentityRule::CommonName, Some("app")),
            (IdentityRule::Dns, Some("app.example")),
            (IdentityRule::Uri, Some("spiffe://example/app")),
            (IdentityRule::Email, Some("app@example")),
        ] {
            assert_eq!(
                rule.name(certificate.der()).as_deref(),
                expected,
                "{rule:?}"
            );
        }
        let end = expiry(&[certificate.der().clone()]).expect("it ends");
        assert!(end.at > 2_000_000_000);
    }

    #[test]
    fn what_would_break_a_line_is_no_name() {
        for name in ["", "two words", "line\nbreak", &"x".repeat(257)] {
            let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name");
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            assert_eq!(
                IdentityRule::CommonName.name(certificate.der()),
                None,
                "{name:?}"
            );
        }
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff, 1]);
        assert_eq!(IdentityRule::CommonName.name(&garbage), None);
        assert_eq!(expiry(&[garbage]), None);
    }
}
