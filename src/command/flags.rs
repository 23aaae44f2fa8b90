//! Flags of the servers that matter to few commands and so are no columns of the table. Checked against
//! servers by `tests/command_table`.

use super::row::{Access, Command};

/// What the servers flag `admin`: `MONITOR` never shows it.
const ADMIN: [&str; 71] = [
    "acl|deluser",
    "acl|dryrun",
    "acl|getuser",
    "acl|list",
    "acl|load",
    "acl|log",
    "acl|save",
    "acl|setuser",
    "acl|users",
    "bgrewriteaof",
    "bgsave",
    "client|kill",
    "client|list",
    "client|no-evict",
    "client|pause",
    "client|unblock",
    "client|unpause",
    "cluster|addslots",
    "cluster|addslotsrange",
    "cluster|bumpepoch",
    "cluster|count-failure-reports",
    "cluster|delslots",
    "cluster|delslotsrange",
    "cluster|failover",
    "cluster|flushslots",
    "cluster|forget",
    "cluster|meet",
    "cluster|replicas",
    "cluster|replicate",
    "cluster|reset",
    "cluster|saveconfig",
    "cluster|set-config-epoch",
    "cluster|setslot",
    "cluster|slaves",
    "config|get",
    "config|resetstat",
    "config|rewrite",
    "config|set",
    "debug",
    "failover",
    "latency|doctor",
    "latency|graph",
    "latency|histogram",
    "latency|history",
    "latency|latest",
    "latency|reset",
    "module|list",
    "module|load",
    "module|loadex",
    "module|unload",
    "monitor",
    "pfdebug",
    "pfselftest",
    "psync",
    "replconf",
    "replicaof",
    "save",
    "shutdown",
    "slaveof",
    "slowlog|get",
    "slowlog|len",
    "slowlog|reset",
    "sync",
    // Newer than the servers that each run asks.
    "cluster|cancelslotmigrations",
    "cluster|flushslot",
    "cluster|getslotmigrations",
    "cluster|migrateslots",
    "cluster|syncslots",
    "commandlog|get",
    "commandlog|len",
    "commandlog|reset",
];

impl Command {
    /// Whether the servers flag it `admin`.
    pub fn is_admin(&self) -> bool {
        ADMIN.contains(&self.name)
    }

    /// Whether its effect may reach replicas: a write, or what the servers flag `may_replicate`.
    pub fn may_replicate(&self) -> bool {
        const ALSO: [&str; 6] = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];
        self.access == Access::Write || ALSO.contains(&self.name)
    }
}
