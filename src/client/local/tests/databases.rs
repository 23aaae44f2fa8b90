//! `SELECT`.

use super::*;

/// contract: C5
#[test]
fn only_a_node_knows_which_databases_there_are() {
    let mut talk = Talk::new();
    for index in [1, -1, 99_999] {
        talk.hears(&format!("SELECT {index}"), "");
        assert_eq!(talk.effect, Effect::Select(Database(index)));
        assert!(talk.session.is_at_home());
    }
    let told = |database, outcome: Result<(), &str>| Selected {
        home: Home {
            database: Database(database),
            ..Home::FIRST
        },
        outcome: outcome.map_err(str::to_owned),
    };
    talk.selected = Some(told(99, Err("ERR DB index is out of range")));
    talk.hears("SELECT 99", "-ERR DB index is out of range\r\n");
    assert_eq!(talk.session.database(), Database::FIRST);
    // What was found out about one says nothing about another.
    talk.selected = Some(told(3, Ok(())));
    talk.hears("SELECT 4", "");
    assert_eq!(talk.effect, Effect::Select(Database(4)));
    talk.hears("SELECT 3", OK);
    assert_eq!(talk.session.database(), Database(3));
    assert!(!talk.session.is_at_home() && !talk.session.is_free());
    talk.selected = None;
    talk.hears("SELECT 3", OK).hears("SELECT 0", OK);
    assert!(talk.session.is_at_home() && talk.session.is_free());
    talk.session.select(Database(5));
    talk.hears("RESET", "+RESET\r\n");
    assert_eq!(talk.session.database(), Database::FIRST);
}
