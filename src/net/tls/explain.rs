//! What went wrong in a handshake, in words that say what to mend.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The reason for people. rustls' own words, where they say it all.
pub fn explain(error: &io::Error) -> String {
    let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the other side closed the connection during the TLS handshake".to_owned()
            }
            _ => error.to_string(),
        };
    };
    match inner {
        Error::InvalidCertificate(wrong) => of_certificate(wrong),
        Error::InvalidMessage(_) => format!("the other side does not speak TLS here ({inner})"),
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::AlertReceived(alert) => of_alert(*alert),
        _ => inner.to_string(),
    }
}

/// Whether TLS itself failed, and not the connection below it.
pub fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>)
}

fn of_certificate(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            "its certificate is not signed by a CA that is trusted here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({wrong})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({wrong})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({wrong})")
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => "it wants a certificate, and none was shown",
        AlertDescription::UnknownCA => "it does not trust the CA of the certificate shown to it",
        AlertDescription::CertificateExpired => "it finds the certificate shown to it expired",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => "it does not accept the certificate shown to it",
        AlertDescription::ProtocolVersion => "it speaks no TLS version that is allowed here",
        _ => "it ended the TLS handshake",
    };
    format!("{meaning} (alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_say_what_to_mend() {
        let told = |error| explain(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, part) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "not signed by a CA that is trusted here",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "has expired",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "wants a certificate",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "alert HandshakeFailure",
            ),
            (Error::NoCertificatesPresented, "showed no certificate"),
        ] {
            let text = told(error);
            assert!(text.contains(part), "{text}");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(explain(&refused), refused.to_string());
    }
}
