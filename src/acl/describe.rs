//! Users as `ACL LIST` and `ACL GETUSER` show them.

use super::selector::Selector;
use super::user::User;
use crate::resp::{Protocol, write};

impl User {
    /// The line of an ACL file that makes this user.
    pub fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name.as_bytes().to_vec()];
        words.extend(self.flags().map(|flag| flag.as_bytes().to_vec()));
        words.extend(
            self.passwords
                .iter()
                .map(|hash| format!("#{}", hash.to_hex()).into_bytes()),
        );
        for (index, selector) in self.selectors.iter().enumerate() {
            let rules = selector.describe();
            words.push(match index {
                0 => rules,
                _ => [b"(", &*rules, b")"].concat(),
            });
        }
        words.join(&b' ')
    }

    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitizing = match self.skips_sanitizing {
            true => "skip-sanitize-payload",
            false => "sanitize-payload",
        };
        let flags = [
            Some(if self.is_on { "on" } else { "off" }),
            self.needs_no_password.then_some("nopass"),
            Some(sanitizing),
        ];
        flags.into_iter().flatten()
    }

    /// The reply to `ACL GETUSER`.
    pub fn write_details(&self, protocol: Protocol, out: &mut Vec<u8>) {
        write::map(out, protocol, 6);
        write::bulk(out, b"flags");
        write::set(out, protocol, self.flags().count());
        for flag in self.flags() {
            write::bulk(out, flag.as_bytes());
        }
        write::bulk(out, b"passwords");
        write::array(out, self.passwords.len());
        for hash in &self.passwords {
            write::bulk(out, hash.to_hex().as_bytes());
        }
        let (root, others) = self.selectors.split_at(1);
        for selector in root {
            selector.write_fields(out);
        }
        write::bulk(out, b"selectors");
        write::array(out, others.len());
        for selector in others {
            write::map(out, protocol, 3);
            selector.write_fields(out);
        }
    }
}

impl Selector {
    fn describe(&self) -> Vec<u8> {
        let keys = self.describe_keys();
        let mut channels = self.describe_channels();
        if channels != b"&*" {
            channels = match channels.is_empty() {
                true => b"resetchannels".to_vec(),
                false => [b"resetchannels ", &*channels].concat(),
            };
        }
        let commands = self.commands.describe().into_bytes();
        let parts = [keys, channels, commands];
        let parts: Vec<Vec<u8>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(&b' ')
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        write::bulk(out, b"commands");
        write::bulk(out, self.commands.describe().as_bytes());
        write::bulk(out, b"keys");
        write::bulk(out, &self.describe_keys());
        write::bulk(out, b"channels");
        write::bulk(out, &self.describe_channels());
    }
}

#[cfg(test)]
mod tests {
    use crate::acl::{User, rules};

    #[test]
    fn what_is_shown_makes_the_same_user() {
        for line in [
            "on nopass ~* &* +@all",
            "off -@all",
            "on >p ~a:* %R~b:* %W~c &x +@read -get +config|get +select|0 (~z +set) ( allkeys -@all +ping )",
            "on >p allkeys +@all -@dangerous -config +config|get skip-sanitize-payload",
        ] {
            let user = |line: &[u8]| {
                let rules = rules::split(line).expect("rules");
                User::of_rules("u", rules.iter().map(Vec::as_slice)).expect("rules")
            };
            let shown = user(line.as_bytes()).describe();
            let rest = shown.strip_prefix(b"user u ").expect("its name");
            assert_eq!(user(rest).describe(), shown, "{line}");
        }
    }
}
