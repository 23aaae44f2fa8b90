//! Workers, and cores of one worker, that show each other's monitors what passes.

use super::*;
use crate::acl::{Identity, IdentityNumber};
use crate::client::Home;
use crate::cluster::Database;
use crate::config::IdentityMode;
use crate::resp::write;
use crate::worker::core::WorkerLimits;
use crate::worker::local::LocalFacts;

fn core(index: usize, facts: &Arc<LocalFacts>) -> Core {
    Core::new(
        index,
        WorkerLimits::default(),
        Arc::default(),
        Arc::default(),
        Arc::default(),
        Arc::clone(facts),
    )
}

fn ask(core: &mut Core, key: ClientKey, words: &[&[u8]]) {
    let mut frame = Vec::new();
    write::command(&mut frame, words);
    assert_eq!(core.process(key, &frame).consumed, frame.len());
}

fn output(core: &mut Core, key: ClientKey) -> String {
    let client = core.clients.get(key).expect("it is there");
    String::from_utf8_lossy(client.replies.output()).into_owned()
}

/// What a worker does not take over in time costs it its monitors, and nothing else. contract: S7 F6
#[test]
fn a_worker_that_hangs_loses_its_monitors() {
    let facts = Arc::new(LocalFacts {
        workers: vec![Arc::default(), Arc::default()],
        handovers: Handovers::new(2),
        ..LocalFacts::default()
    });
    let (mut writes, mut hangs) = (core(0, &facts), core(1, &facts));
    let monitor = hangs.client_joins(1, "1.1.1.1:1", None);
    ask(&mut hangs, monitor, &[b"MONITOR"]);
    let asked = hangs.questions.pop().expect("all workers are asked");
    for (part, core) in [&mut writes, &mut hangs].into_iter().enumerate() {
        let answer = core.answer_asked(&asked.for_part(part as u32));
        assert_eq!(answer, b":1\r\n");
    }
    assert_eq!(
        output(&mut hangs, monitor),
        "",
        "not before all have answered"
    );
    for part in 0..2 {
        hangs.reply(asked.for_part(part).ticket, b":1\r\n");
    }
    assert_eq!(output(&mut hangs, monitor), "+OK\r\n");

    let writer = writes.client_joins(2, "2.2.2.2:2", None);
    ask(&mut writes, writer, &[b"PING"]);
    assert!(writes.has_errands());
    let mut notes = writes.take_monitor_notes();
    assert!(!writes.has_errands());
    let (to, note) = notes.pop().expect("it is shown");
    assert_eq!((to, notes.len()), (hangs.seat(), 0));
    hangs.take_monitor_note(note);
    let shown = output(&mut hangs, monitor);
    assert!(shown.ends_with(" [0 2.2.2.2:2] \"PING\"\r\n"), "{shown}");

    // It does not matter what the writer hears.
    let client = writes.clients.get(writer).expect("it is there");
    client.replies.discard_output();
    let large = vec![b'x'; 8 << 20];
    let mut handed_over = Vec::new();
    let is_lost = (0..8).any(|_| {
        ask(&mut writes, writer, &[b"ECHO", &large]);
        handed_over.extend(
            writes
                .take_monitor_notes()
                .into_iter()
                .map(|(_, note)| note),
        );
        matches!(handed_over.last(), Some(MonitorNote::Lost))
    });
    assert!(is_lost && handed_over.len() == 4, "{}", handed_over.len());
    hangs.take_monitor_note(MonitorNote::Lost);
    let phase = hangs.clients.get(monitor).map(|client| client.phase);
    assert_eq!(phase, Some(Phase::Gone));
    // The others are told that nobody is left, and what was taken over makes room again.
    assert_eq!(hangs.take_monitor_count(), Some(0));
    assert_eq!(hangs.take_monitor_count(), None);
    for note in handed_over {
        hangs.take_monitor_note(note);
    }
    assert!(facts.handovers.add(1, HANDOVER_BYTES_MAX));
    writes.monitors_elsewhere(hangs.seat(), 0);
    assert!(!writes.scrutiny.is_on());
}

/// Where the nodes know the users, each monitor is shown what its own user does. contract: S7 C1
#[test]
fn monitors_of_other_users() {
    let of_a = Seat {
        worker: 0,
        home: Home {
            identity: IdentityNumber(1),
            ..Home::FIRST
        },
    };
    for (mode, is_shown) in [
        (IdentityMode::Service, true),
        (IdentityMode::PassThrough, false),
    ] {
        let facts = Arc::new(LocalFacts {
            workers: vec![Arc::default()],
            handovers: Handovers::new(1),
            identity_mode: mode,
            ..LocalFacts::default()
        });
        let [mut a, mut b] = [1, 2].map(|number| {
            let mut core = core(0, &facts);
            let number = IdentityNumber(number);
            core.identity = Some(Arc::new(Identity::new(number, "user")));
            core
        });
        for core in [&mut a, &mut b] {
            core.learn_of_monitors(&[(of_a, 1)]);
        }
        assert!(!a.scrutiny.is_on(), "its own");
        assert_eq!(b.scrutiny.is_on(), is_shown);
        // A core that is made later, of the first identity on another thread, learns of them from any.
        let mut late = core(1, &facts);
        late.identity = a.identity.clone();
        late.learn_of_monitors(&b.monitors_known());
        assert!(late.scrutiny.is_on());
        // The same user in another database.
        let mut elsewhere = core(0, &facts);
        elsewhere.identity = a.identity.clone();
        elsewhere.database = Database(3);
        elsewhere.learn_of_monitors(&[(of_a, 1)]);
        assert!(elsewhere.scrutiny.is_on());
    }
}

/// Who leaves while the workers are being told was no monitor yet. contract: S7
#[test]
fn leaving_before_ok() {
    let facts = Arc::new(LocalFacts {
        workers: vec![Arc::default(), Arc::default()],
        handovers: Handovers::new(2),
        ..LocalFacts::default()
    });
    let mut core = core(0, &facts);
    let monitor = core.client_joins(1, "1.1.1.1:1", None);
    ask(&mut core, monitor, &[b"MONITOR"]);
    core.cut_off(monitor);
    let asked = core.questions.pop().expect("all workers are asked");
    for part in 0..2 {
        core.reply(asked.for_part(part).ticket, b":1\r\n");
    }
    core.client_left(monitor);
    assert!(!core.scrutiny.is_on());
    assert_eq!(core.take_monitor_count(), Some(0));
}
