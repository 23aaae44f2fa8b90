//! What a node pushes to a subscriber.

use super::channel::Kind;
use crate::resp::reply;

/// A push, as far as the hub looks at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Push<'a> {
    /// The node has subscribed.
    Joined(Kind, &'a [u8]),
    /// The node has ended a subscription, asked or not.
    Parted(Kind, &'a [u8]),
    /// A message.
    Message {
        kind: Kind,
        /// What is subscribed.
        name: &'a [u8],
        /// What was published to; the same but for patterns.
        channel: &'a [u8],
    },
    /// Something else.
    Other,
}

impl<'a> Push<'a> {
    /// Reads a whole push.
    pub(super) fn parse(frame: &'a [u8]) -> Push<'a> {
        Push::try_parse(frame).unwrap_or(Push::Other)
    }

    fn try_parse(frame: &'a [u8]) -> Option<Push<'a>> {
        let mut elements = reply::elements(frame)?;
        let word = reply::text(elements.next()?)?;
        // The name is null when there was nothing to end.
        let name = reply::text(elements.next()?)?;
        let message = |kind, channel| Push::Message {
            kind,
            name,
            channel,
        };
        Some(match word {
            b"message" => message(Kind::Channel, name),
            b"pmessage" => message(Kind::Pattern, reply::text(elements.next()?)?),
            b"smessage" => message(Kind::Shard, name),
            b"subscribe" => Push::Joined(Kind::Channel, name),
            b"psubscribe" => Push::Joined(Kind::Pattern, name),
            b"ssubscribe" => Push::Joined(Kind::Shard, name),
            b"unsubscribe" => Push::Parted(Kind::Channel, name),
            b"punsubscribe" => Push::Parted(Kind::Pattern, name),
            b"sunsubscribe" => Push::Parted(Kind::Shard, name),
            _ => Push::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_push() {
        let channel = Kind::Channel;
        for (frame, expected) in [
            (
                ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
                Push::Joined(channel, b"a"),
            ),
            (
                ">3\r\n$11\r\nunsubscribe\r\n$0\r\n\r\n:0\r\n",
                Push::Parted(channel, b""),
            ),
            (">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", Push::Other),
            (
                ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
                Push::Message {
                    kind: channel,
                    name: b"a",
                    channel: b"a",
                },
            ),
            (
                ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nm\r\n",
                Push::Message {
                    kind: Kind::Pattern,
                    name: b"*",
                    channel: b"a",
                },
            ),
            (
                ">3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n",
                Push::Parted(Kind::Shard, b"s"),
            ),
            (">2\r\n$10\r\ninvalidate\r\n*0\r\n", Push::Other),
            (">1\r\n$7\r\nmessage\r\n", Push::Other),
            (">0\r\n", Push::Other),
        ] {
            assert_eq!(Push::parse(frame.as_bytes()), expected, "{frame:?}");
        }
    }
}
