//! `CLIENT CACHING`, `TRACKINGINFO` and `GETREDIR`: what a client may know and say about its own
//! tracking without a server (contract: S6).

use super::{Answered, Effect, ok, refuse, syntax_error};
use crate::client::Session;
use crate::client::tracking::TrackingMode;
use crate::resp::{Args, write};

/// `CLIENT CACHING YES|NO`
pub(super) fn caching(args: &Args<'_>, session: &mut Session, out: &mut Vec<u8>) -> Answered {
    let Some(tracking) = &mut session.tracking else {
        return refuse(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        );
    };
    match &*args.get(2).unwrap_or_default().to_ascii_lowercase() {
        b"yes" if tracking.mode() != TrackingMode::OptIn => {
            return refuse(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            );
        }
        b"no" if tracking.mode() != TrackingMode::OptOut => {
            return refuse(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            );
        }
        b"yes" | b"no" => tracking.is_caching_said = true,
        _ => return syntax_error(),
    }
    ok(out)
}

/// `CLIENT TRACKINGINFO`
pub(super) fn describe(session: &Session, out: &mut Vec<u8>) -> Answered {
    let tracking = session.tracking.as_deref();
    let mut flags = Vec::new();
    match tracking {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            match (tracking.mode(), tracking.is_caching_said) {
                (TrackingMode::Default, _) => {}
                (TrackingMode::Broadcast, _) => flags.push("bcast"),
                (TrackingMode::OptIn, false) => flags.push("optin"),
                (TrackingMode::OptIn, true) => flags.extend(["optin", "caching-yes"]),
                (TrackingMode::OptOut, false) => flags.push("optout"),
                (TrackingMode::OptOut, true) => flags.extend(["optout", "caching-no"]),
            }
            if tracking.is_noloop() {
                flags.push("noloop");
            }
        }
    }
    write::map(out, session.protocol, 3);
    write::bulk(out, b"flags");
    write::set(out, session.protocol, flags.len());
    for flag in flags {
        write::bulk(out, flag.as_bytes());
    }
    write::bulk(out, b"redirect");
    write::integer(out, session.redirection());
    write::bulk(out, b"prefixes");
    let prefixes = tracking
        .into_iter()
        .flat_map(|tracking| tracking.prefixes());
    write::array(out, prefixes.clone().count());
    for prefix in prefixes {
        write::bulk(out, prefix);
    }
    Ok(Effect::None)
}

/// `CLIENT GETREDIR`
pub(super) fn redirection(session: &Session, out: &mut Vec<u8>) -> Answered {
    write::integer(out, session.redirection());
    Ok(Effect::None)
}
