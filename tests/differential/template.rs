//! A command as a line of the catalogue, and how it becomes arguments.
//!
//! ```text
//! SET <string> <value> [EX <seconds>|KEEPTTL]      a word, a placeholder, one of these or nothing
//! LINSERT <list> (BEFORE|AFTER) <value> <value>    one of these
//! HSET <hash> (<field> <value>)...                 one to four times
//! ```
//!
//! A line may begin with a mark that says how its replies are compared; see [`Rule`].

use fastrand::Rng;

use super::compare::Rule;

/// A parsed line.
#[derive(Clone, Debug)]
pub struct Template {
    /// How replies are compared.
    pub rule: Rule,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Word(&'static str),
    Placeholder(&'static str),
    /// One of these sequences.
    One(Vec<Vec<Node>>),
    /// One of these sequences, or nothing.
    Maybe(Vec<Vec<Node>>),
    /// One to four times.
    Many(Box<Node>),
}

/// How often an optional part is there, of a hundred.
const OPTIONAL: u32 = 35;

impl Template {
    /// Parses a line; panics on one that makes no sense, for lines are constants.
    pub fn parse(line: &'static str) -> Template {
        let (rule, text) = Rule::marked(line);
        let mut parser = Parser { rest: text };
        let nodes = parser.sequence();
        assert!(
            parser.rest.is_empty(),
            "{line}: left over '{}'",
            parser.rest
        );
        Template { rule, nodes }
    }

    /// Arguments of one command; `fill` says what stands for a placeholder (one or more arguments).
    pub fn expand(
        &self,
        random: &mut Rng,
        fill: &mut impl FnMut(&mut Rng, &'static str) -> Vec<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        expand(&self.nodes, random, fill, &mut words);
        words
    }
}

fn expand(
    nodes: &[Node],
    random: &mut Rng,
    fill: &mut impl FnMut(&mut Rng, &'static str) -> Vec<Vec<u8>>,
    words: &mut Vec<Vec<u8>>,
) {
    for node in nodes {
        match node {
            Node::Word(word) => words.push(word.as_bytes().to_vec()),
            Node::Placeholder(name) => words.extend(fill(random, name)),
            Node::One(choices) => {
                let choice = random.usize(..choices.len());
                expand(&choices[choice], random, fill, words);
            }
            Node::Maybe(choices) => {
                if random.u32(..100) < OPTIONAL {
                    let choice = random.usize(..choices.len());
                    expand(&choices[choice], random, fill, words);
                }
            }
            Node::Many(node) => {
                for _ in 0..random.usize(1..=4) {
                    expand(std::slice::from_ref(node), random, fill, words);
                }
            }
        }
    }
}

struct Parser {
    rest: &'static str,
}

impl Parser {
    fn sequence(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            let Some(first) = self.rest.chars().next() else {
                return nodes;
            };
            let node = match first {
                ']' | ')' | '|' => return nodes,
                '[' => Node::Maybe(self.choices(']')),
                '(' => Node::One(self.choices(')')),
                '<' => {
                    let end = self.rest.find('>').expect("a placeholder ends in >");
                    let name = &self.rest[1..end];
                    self.rest = &self.rest[end + 1..];
                    Node::Placeholder(name)
                }
                _ => {
                    let end = self.rest.find([' ', ']', ')', '|']);
                    let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                    self.rest = rest;
                    // `''` is the empty word.
                    Node::Word(if word == "''" { "" } else { word })
                }
            };
            if let Some(rest) = self.rest.strip_prefix("...") {
                self.rest = rest;
                nodes.push(Node::Many(Box::new(node)));
            } else {
                nodes.push(node);
            }
        }
    }

    fn choices(&mut self, close: char) -> Vec<Vec<Node>> {
        let mut choices = Vec::new();
        loop {
            // Past the opening bracket, or the bar.
            self.rest = &self.rest[1..];
            choices.push(self.sequence());
            if self.rest.starts_with(close) {
                self.rest = &self.rest[1..];
                return choices;
            }
            assert!(
                self.rest.starts_with('|'),
                "no {close} before '{}'",
                self.rest
            );
        }
    }
}
