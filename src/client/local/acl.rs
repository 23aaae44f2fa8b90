//! `ACL`: this Keyway's users, and what it denied them (contract: C6). They are configured, not changed by
//! clients.

use std::sync::PoisonError;

use super::{Answered, Effect, World, refuse, shown};
use crate::acl::Request;
use crate::client::Session;
use crate::command::{self, Lookup};
use crate::resp::scan::parse_integer;
use crate::resp::{Args, write};

pub(super) fn list(world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let users = world.door.users.iter();
    write::array(out, users.len());
    for user in users {
        write::bulk(out, &user.describe());
    }
    Ok(Effect::None)
}

pub(super) fn names(world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let users = world.door.users.iter();
    write::array(out, users.len());
    for user in users {
        write::bulk(out, user.name().as_bytes());
    }
    Ok(Effect::None)
}

/// `ACL GETUSER name`
pub(super) fn details(
    args: &Args<'_>,
    session: &Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Answered {
    match world.door.users.get(args.get(2).unwrap_or_default()) {
        Some(user) => user.write_details(session.protocol, out),
        None => write::null(out, session.protocol),
    }
    Ok(Effect::None)
}

/// `ACL DRYRUN user command ...`
pub(super) fn dry_run(args: &Args<'_>, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let name = args.get(2).unwrap_or_default();
    let Some(user) = world.door.users.get(name) else {
        return Err(format!("ERR User '{}' not found", shown(name)));
    };
    let request = args.behind(3);
    let found = match command::lookup(&request) {
        Lookup::Found(command) => Lookup::Found(command),
        missed => world.learnt.look_up(missed, &request),
    };
    let Lookup::Found(command) = found else {
        return Err(format!("ERR Command '{}' not found", shown(request.name())));
    };
    if !command.accepts(request.len()) {
        let name = command.name;
        return Err(format!(
            "ERR wrong number of arguments for '{name}' command"
        ));
    }
    match user.check(&Request::new(
        command,
        world.learnt.rights(command),
        &request,
    )) {
        Ok(()) => write::simple(out, "OK"),
        Err(denied) => {
            let verdict = world
                .wording
                .verdict(user.name(), command, &request, denied);
            write::bulk(out, &verdict);
        }
    }
    Ok(Effect::None)
}

/// `ACL LOG [count | RESET]`
pub(super) fn log(
    args: &Args<'_>,
    session: &Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Answered {
    let mut log = world.acl_log.lock().unwrap_or_else(PoisonError::into_inner);
    let count = match args.get(2) {
        None => 10,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            log.reset();
            return super::ok(out);
        }
        Some(number) => match parse_integer(number) {
            Some(count) => usize::try_from(count).unwrap_or(0),
            None => return refuse("ERR value is not an integer or out of range"),
        },
    };
    if args.len() > 3 {
        return refuse(
            "ERR unknown subcommand or wrong number of arguments for 'log'. Try ACL HELP.",
        );
    }
    log.write(
        count,
        session.protocol,
        world.figures.now_us,
        world.started_us,
        out,
    );
    Ok(Effect::None)
}

/// What would change users.
pub(super) fn configured() -> Answered {
    refuse(
        "ERR users are configured in Keyway ([[users]] and acl.file) and cannot be changed by clients; SIGHUP \
         makes it read them anew",
    )
}
