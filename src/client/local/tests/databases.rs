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
        outcome: outcome.map_err(|text| NotSelected::ByNode(text.to_owned())),
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

/// contract: C5
#[test]
fn that_there_is_none_is_said_before_what_has_to_end_first() {
    let mut talk = Talk::new();
    talk.bound = Some(Bound::Watch);
    talk.hears("SELECT 9", "");
    assert_eq!(talk.effect, Effect::Select(Database(9)));
    let home = talk.session.home_in(Database(9));
    for (outcome, expected) in [
        (Err(NotSelected::ByNode("ERR none".to_owned())), "-ERR none"),
        (Ok(()), "-ERR this client watches keys and cannot select"),
    ] {
        talk.selected = Some(Selected { home, outcome });
        let heard = talk.ask("SELECT 9");
        assert!(heard.starts_with(expected), "{heard}");
        assert_eq!(talk.session.database(), Database::FIRST);
    }
    talk.bound = Some(Bound::Transaction);
    talk.selected = None;
    let heard = talk.ask("SELECT 9");
    assert!(
        heard.starts_with("-ERR this client is inside MULTI"),
        "{heard}"
    );
    talk.hears("SELECT 0", OK);
}
