//! When two replies count as the same. Byte for byte, unless the command's line says that one
//! server would not repeat it either: each exception is one [`Rule`] with its reason.

use super::support::Value;

/// How the replies of one command are compared, and the mark its line begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Byte for byte.
    Exact,
    /// `~` The order of elements is that of a hash table with a random seed.
    Sorted,
    /// `^` As `Sorted`, and so are the elements of elements.
    Deep,
    /// `%` As `Sorted`, for field and value in turn (RESP2 has no maps).
    Pairs,
    /// `#` Integers are times, ids or sizes: any is as good as another, unless it is negative.
    Numbers,
    /// `?` Made of chance or of the process itself: only the type of the reply counts.
    Shape,
    /// `@` A confirmation whose channel comes in the order of a hash table.
    Confirmation,
    /// Whose reply it is, is not known: byte for byte, but for a `Confirmation`.
    Unsure,
    /// Element by element, for `EXEC`.
    Each(Vec<Rule>),
}

impl Rule {
    /// Splits the mark off a line.
    pub fn marked(line: &'static str) -> (Rule, &'static str) {
        let rule = match line.as_bytes().first() {
            Some(b'~') => Rule::Sorted,
            Some(b'^') => Rule::Deep,
            Some(b'%') => Rule::Pairs,
            Some(b'#') => Rule::Numbers,
            Some(b'?') => Rule::Shape,
            _ => return (Rule::Exact, line),
        };
        (rule, line[1..].trim_start())
    }

    /// Whether these count as the same.
    pub fn accepts(&self, one: &Value, other: &Value) -> bool {
        one == other || !matches!(self, Rule::Exact) && self.normal(one) == self.normal(other)
    }

    /// What is left of a reply when what differs by nature is taken away.
    pub fn normal(&self, value: &Value) -> Value {
        match (self, value) {
            (_, Value::Error(_)) | (Rule::Exact, _) => value.clone(),
            (Rule::Deep, _) => deeply_sorted(value),
            (Rule::Sorted, Value::Array(items)) => Value::Array(sorted(items.clone())),
            (Rule::Sorted, Value::Set(items)) => Value::Set(sorted(items.clone())),
            (Rule::Pairs, Value::Array(items)) => {
                let pairs = items.chunks(2).map(|pair| Value::Array(pair.to_vec()));
                Value::Array(sorted(pairs.collect()))
            }
            (Rule::Sorted | Rule::Pairs, Value::Map(pairs)) => {
                let mut pairs = pairs.clone();
                pairs.sort_by_key(|(key, value)| (key.to_string(), value.to_string()));
                Value::Map(pairs)
            }
            (Rule::Sorted | Rule::Pairs, _) => value.clone(),
            (Rule::Numbers, _) => without_numbers(value),
            (Rule::Shape, _) => shape(value),
            (Rule::Confirmation, Value::Array(items)) => Value::Array(without_channel(items)),
            (Rule::Confirmation, Value::Push(items)) => Value::Push(without_channel(items)),
            (Rule::Confirmation, _) => value.clone(),
            (Rule::Unsure, _) if is_end(value) => Rule::Confirmation.normal(value),
            (Rule::Unsure, Value::Array(items)) => {
                let items = items.iter().map(|item| Rule::Unsure.normal(item));
                Value::Array(items.collect())
            }
            (Rule::Unsure, _) => value.clone(),
            (Rule::Each(rules), Value::Array(items)) if rules.len() == items.len() => {
                let each = rules.iter().zip(items);
                Value::Array(each.map(|(rule, item)| rule.normal(item)).collect())
            }
            (Rule::Each(_), _) => Rule::Unsure.normal(value),
        }
    }
}

fn sorted(mut items: Vec<Value>) -> Vec<Value> {
    items.sort_by_key(Value::to_string);
    items
}

fn deeply_sorted(value: &Value) -> Value {
    let all = |items: &[Value]| sorted(items.iter().map(deeply_sorted).collect());
    match value {
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => {
            let both = |(key, value): &(Value, Value)| (key.clone(), deeply_sorted(value));
            Value::Map(pairs.iter().map(both).collect())
        }
        other => other.clone(),
    }
}

fn without_channel(items: &[Value]) -> Vec<Value> {
    let mut items = items.to_vec();
    if items.len() == 3 {
        items[1] = Value::bulk("a channel");
    }
    items
}

/// Whether this confirms that a subscription has ended.
fn is_end(value: &Value) -> bool {
    let (Value::Push(items) | Value::Array(items)) = value else {
        return false;
    };
    let word = items.first().and_then(Value::bytes).unwrap_or_default();
    items.len() == 3 && word.ends_with(b"unsubscribe")
}

/// A number is any number; that it is negative says something ("no such key").
fn without_numbers(value: &Value) -> Value {
    let all = |items: &[Value]| items.iter().map(without_numbers).collect();
    match value {
        Value::Integer(number) if *number >= 0 => Value::Integer(1),
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => {
            let both = |(key, value): &(Value, Value)| (key.clone(), without_numbers(value));
            Value::Map(pairs.iter().map(both).collect())
        }
        other => other.clone(),
    }
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Integer(_) => Value::Integer(0),
        Value::Bulk(_) => Value::bulk("some bytes"),
        Value::Verbatim(format, _) => Value::Verbatim(format.clone(), Vec::new()),
        Value::Simple(_) => Value::Simple(String::new()),
        Value::Double(_) => Value::Double(String::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Set(_) => Value::Set(Vec::new()),
        Value::Map(_) => Value::Map(Vec::new()),
        other => other.clone(),
    }
}

/// A message is what `PUBLISH` brings; confirmations of subscriptions are replies. It comes when it
/// comes, between replies, so the two are compared apart.
pub fn is_message(value: &Value) -> bool {
    let (Value::Push(items) | Value::Array(items)) = value else {
        return false;
    };
    let kind = items.first().and_then(Value::bytes).unwrap_or_default();
    match items.len() {
        3 => kind == b"message" || kind == b"smessage",
        4 => kind == b"pmessage",
        _ => false,
    }
}

/// By subscription and channel, each in its order: those of different ones come through different
/// nodes, and one message may match several patterns, in the order of a hash table.
pub fn messages_in_order(messages: &[Value]) -> Vec<Value> {
    let mut messages = messages.to_vec();
    messages.sort_by_cached_key(|message| {
        let subscription = message.items().split_last().map(|(_, rest)| rest);
        Value::Array(subscription.unwrap_or_default().to_vec()).to_string()
    });
    messages
}
