//! Makes a sequence that shows a difference shorter, as long as it still shows one.

use std::time::{Duration, Instant};

use super::player::{Difference, Player};
use super::stage::Stage;
use super::story::Turn;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// The shortest sequence found, and what differs at its end.
pub fn shrink(stage: &Stage, turns: &[Turn], found: Difference) -> (Vec<Turn>, Difference) {
    let mut shrinker = Shrinker {
        stage,
        name: found.name(),
        turns: turns[..=found.turn].to_vec(),
        found,
        deadline: Instant::now() + PATIENCE,
    };
    shrinker.drop_pieces();
    if shrinker.try_instead(shrinker.turns.iter().flat_map(one_by_one).collect()) {
        shrinker.drop_pieces();
    } else {
        shrinker.shorten_batches();
        shrinker.drop_pieces();
    }
    (shrinker.turns, shrinker.found)
}

struct Shrinker<'a> {
    stage: &'a Stage,
    name: String,
    turns: Vec<Turn>,
    found: Difference,
    deadline: Instant,
}

impl Shrinker<'_> {
    /// Leaves out pieces, large ones first.
    fn drop_pieces(&mut self) {
        let mut size = self.turns.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.turns.len() {
                let mut fewer = self.turns.clone();
                fewer.drain(at..(at + size).min(fewer.len()));
                if !self.try_instead(fewer) {
                    at += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    fn shorten_batches(&mut self) {
        for turn in 0..self.turns.len() {
            let mut at = 0;
            while let Some(Turn::Batch(client, commands)) = self.turns.get(turn) {
                if at >= commands.len() {
                    break;
                }
                let (client, mut commands) = (*client, commands.clone());
                commands.remove(at);
                let mut fewer = self.turns.clone();
                fewer[turn] = Turn::Batch(client, commands);
                if !self.try_instead(fewer) {
                    at += 1;
                }
            }
        }
    }

    /// Takes this sequence if it shows the difference as well.
    fn try_instead(&mut self, turns: Vec<Turn>) -> bool {
        if turns.is_empty() || Instant::now() > self.deadline {
            return false;
        }
        match Player::new(self.stage).play(&turns) {
            Err(found) if found.name() == self.name => {
                self.turns = turns;
                self.turns.truncate(found.turn + 1);
                self.found = found;
                true
            }
            _ => false,
        }
    }
}

/// Each command in a write of its own.
fn one_by_one(turn: &Turn) -> Vec<Turn> {
    let split = |(client, commands): (&usize, &Vec<_>)| {
        let client = *client;
        let single =
            move |command: &super::command::Command| Turn::Batch(client, vec![command.clone()]);
        commands.iter().map(single).collect::<Vec<_>>()
    };
    match turn {
        Turn::Batch(client, commands) => split((client, commands)),
        Turn::Together(all) => all
            .iter()
            .flat_map(|(client, commands)| split((client, commands)))
            .collect(),
        Turn::Walk(..) | Turn::Served(..) => vec![turn.clone()],
    }
}
