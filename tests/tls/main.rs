//! TLS, to clients and to nodes: who gets in, who is believed, what is said when not, and certificates that
//! are replaced while everybody works.

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod clients;
mod libraries;
mod nodes;
mod reload;

use std::time::Duration;

use support::keyway::KeywayOptions;
use support::tls::{Pair, quoted};

/// How long anything may take that takes no time on a machine with nothing else to do.
const DEADLINE: Duration = Duration::from_secs(20);

/// Has clients speak TLS.
fn with_listener(options: KeywayOptions, pair: &Pair) -> KeywayOptions {
    options
        .set("listen.tls_certificate", &quoted(&pair.certificate))
        .set("listen.tls_key", &quoted(&pair.key))
}
