//! `CLIENT`: what a client sets on its own connection, and questions about all clients.

use super::{Answered, Effect, Question, World, ok, refuse, shown, syntax_error};
use crate::client::filter::Kill;
use crate::client::pause::{Pause, PauseMode};
use crate::client::{ClientFilter, ReplyMode, Session, describe_client};
use crate::resp::scan::parse_integer;
use crate::resp::{Args, write};

pub(super) fn id(session: &Session, out: &mut Vec<u8>) -> Answered {
    write::integer(out, i64::try_from(session.id).unwrap_or(i64::MAX));
    Ok(Effect::None)
}

pub(super) fn describe(session: &Session, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let line = describe_client(session, &world.figures);
    write::verbatim(out, session.protocol, &line);
    Ok(Effect::None)
}

pub(super) fn list(args: &Args<'_>) -> Answered {
    Ok(Effect::Ask(Question::List(ClientFilter::for_list(args)?)))
}

pub(super) fn kill(args: &Args<'_>, session: &Session, world: &World<'_>) -> Answered {
    let users = &world.door.users;
    let is_user = |user: &[u8]| users.are_at_the_nodes() || users.get(user).is_some();
    Ok(Effect::Ask(
        match ClientFilter::for_kill(args, session.id, is_user)? {
            Kill::Address(filter) => Question::KillAddress(filter),
            Kill::Filter(filter) => Question::Kill(filter),
        },
    ))
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
pub(super) fn unblock(args: &Args<'_>) -> Answered {
    let with_error = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout") => false,
        Some(b"error") => true,
        Some(_) => return refuse("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    if args.len() > 4 {
        return syntax_error();
    }
    let Some(id) = parse_integer(args.get(2).unwrap_or_default()) else {
        return refuse("ERR value is not an integer or out of range");
    };
    let Ok(id) = u64::try_from(id) else {
        // Nobody has such a number.
        let id = 0;
        return Ok(Effect::Ask(Question::Unblock { id, with_error }));
    };
    Ok(Effect::Ask(Question::Unblock { id, with_error }))
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`
pub(super) fn pause(args: &Args<'_>, now_us: u64) -> Answered {
    if args.len() > 4 {
        let name = shown(args.get(1).unwrap_or_default());
        return Err(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLIENT HELP."
        ));
    }
    let mode = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => PauseMode::All,
        Some(b"write") => PauseMode::Write,
        Some(_) => return refuse("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let Some(milliseconds) = args.get(2).and_then(parse_integer) else {
        return refuse("ERR timeout is not an integer or out of range");
    };
    let Ok(milliseconds) = u64::try_from(milliseconds) else {
        return refuse("ERR timeout is negative");
    };
    let until_us = milliseconds
        .checked_mul(1_000)
        .and_then(|length_us| length_us.checked_add(now_us));
    match until_us {
        Some(until_us) => Ok(Effect::Ask(Question::Pause(Pause { mode, until_us }))),
        None => refuse("ERR timeout is out of range"),
    }
}

pub(super) fn name(session: &Session, out: &mut Vec<u8>) -> Answered {
    match session.name() {
        b"" => write::null(out, session.protocol),
        name => write::bulk(out, name),
    }
    Ok(Effect::None)
}

pub(super) fn set_name(args: &Args<'_>, session: &mut Session, out: &mut Vec<u8>) -> Answered {
    let name = args.get(2).unwrap_or_default();
    check_name(name)?;
    session.set_name(name);
    ok(out)
}

/// Whether a client may have this name.
pub(super) fn check_name(name: &[u8]) -> Result<(), String> {
    check_printable("Client names", name)
}

/// Names appear in the lines of `CLIENT LIST`, which a space or a line break would cut.
fn check_printable(what: &str, text: &[u8]) -> Result<(), String> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(format!(
        "ERR {what} cannot contain spaces, newlines or special characters."
    ))
}

/// `CLIENT SETINFO`
pub(super) fn set_library(args: &Args<'_>, session: &mut Session, out: &mut Vec<u8>) -> Answered {
    let option = args.get(2).unwrap_or_default();
    let value = args.get(3).unwrap_or_default();
    if option.eq_ignore_ascii_case(b"LIB-NAME") {
        check_printable(&shown(option), value)?;
        session.set_library(value);
    } else if option.eq_ignore_ascii_case(b"LIB-VER") {
        check_printable(&shown(option), value)?;
        session.set_library_version(value);
    } else {
        return Err(format!("ERR Unrecognized option '{}'", shown(option)));
    }
    ok(out)
}

/// `CLIENT REPLY`; who asks whether the reply is withheld afterwards gets it right for each of them.
pub(super) fn reply(args: &Args<'_>, session: &mut Session, out: &mut Vec<u8>) -> Answered {
    let mode = args.get(2).unwrap_or_default();
    if mode.eq_ignore_ascii_case(b"ON") {
        session.set_reply_mode(ReplyMode::On);
        return ok(out);
    }
    if mode.eq_ignore_ascii_case(b"OFF") {
        session.set_reply_mode(ReplyMode::Off);
    } else if !mode.eq_ignore_ascii_case(b"SKIP") {
        return syntax_error();
    } else if session.reply_mode() != ReplyMode::Off {
        session.set_reply_mode(ReplyMode::SkipTwo);
    }
    Ok(Effect::None)
}

/// `on` or `off`
pub(super) fn switch(args: &Args<'_>, setting: &mut bool, out: &mut Vec<u8>) -> Answered {
    match &*args.get(2).unwrap_or_default().to_ascii_lowercase() {
        b"on" => *setting = true,
        b"off" => *setting = false,
        _ => return refuse("ERR syntax error"),
    }
    ok(out)
}
