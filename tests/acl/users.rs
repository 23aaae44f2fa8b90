//! The users of all comparisons: each tells one thing apart.

/// Name and rules; each also has the password `p`.
pub const USERS: &[(&str, &str)] = &[
    ("all", "on ~* &* +@all"),
    ("nothing", "on"),
    ("off", "off ~* &* +@all"),
    ("reader", "on ~* +@read"),
    ("writer", "on ~* +@write -@read"),
    ("cache", "on ~cache:* &cache:* +@all"),
    ("split", "on %R~r:* %W~w:* %RW~rw:* +@all"),
    ("merged", "on %R~m:* %W~m:* +@all"),
    ("readall", "on %R~* %W~w:* +@all"),
    ("safe", "on ~* &* +@all -@dangerous"),
    ("admin", "on +@admin"),
    (
        "fewer",
        "on ~* &* +@all -config -client|kill -eval -get -select +select|0",
    ),
    (
        "some",
        "on ~* +config|get +client|id +acl|whoami +acl|dryrun +select|0 +ping +object|encoding",
    ),
    (
        "container",
        "on ~* +config -config|set +xgroup +memory|usage",
    ),
    (
        "selectors",
        "on ~a:* +get (~b:* +set +get) (%R~c:* +@all) (&news:* +subscribe +psubscribe +publish)",
    ),
    ("cleared", "on +get ~a:* (~b:* +set) clearselectors"),
    ("channels", "on ~* +@all &news &log:* &p?[ab]*"),
    ("silent", "on ~* +@all resetchannels"),
    (
        "scripts",
        "on ~s:* +eval +eval_ro +evalsha +fcall +script|load +script|exists",
    ),
    ("readscripts", "on %R~s:* +@scripting"),
    ("globs", "on ~k[ab]? ~x\\*y ~[^z]end ~q* +@all"),
    (
        "order",
        "on ~* -@all +@hash -hgetall +hgetall -@write +hset",
    ),
    ("case", "on ~* +GeT +@STRING -SET +Config|Get AllChannels"),
    ("reset", "on >old ~* +@all reset on +ping"),
    ("keys", "on allkeys resetkeys ~k:* +@all"),
    ("transactions", "on ~t:* +@transaction +get +set"),
    (
        "stream",
        "on %R~in:* %W~out:* +@stream +@sortedset +@list +@set",
    ),
];

/// The lines of an ACL file with these users.
pub fn acl_file() -> String {
    let line = |(name, rules): &(&str, &str)| format!("user {name} {rules} >p\n");
    USERS.iter().map(line).collect()
}
