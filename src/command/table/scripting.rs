//! Scripts and functions. Scripts are node-local, so what changes their cache goes to every
//! primary; functions are replicated data and do the same (contract: T4).

use super::commands;

commands! {
    "eval"              -3 Effect   (counted 2)     Script(Eval),
    "eval_ro"           -3 Read     (counted 2)     Script(Eval),
    "evalsha"           -3 Effect   (counted 2)     Script(EvalSha),
    "evalsha_ro"        -3 Read     (counted 2)     Script(EvalSha),
    "fcall"             -3 Effect   (counted 2)     Keyed,
    "fcall_ro"          -3 Read     (counted 2)     Keyed,
    "function"          -2 Harmless none            Container,
    "function|delete"    3 Write    none            Primaries(AllSucceeded),
    "function|dump"      2 Harmless none            Anywhere,
    "function|flush"    -2 Write    none            Primaries(AllSucceeded),
    "function|help"      2 Harmless none            Anywhere,
    "function|kill"      2 Effect   none            Script(Kill),
    "function|list"     -2 Harmless none            Anywhere,
    "function|load"     -3 Write    none            Primaries(AllSucceeded),
    "function|restore"  -3 Write    none            Primaries(AllSucceeded),
    "function|stats"     2 Harmless none            Anywhere,
    "script"            -2 Harmless none            Container,
    "script|debug"       3 Effect   none            Refused,
    "script|exists"     -3 Harmless none            Script(Exists),
    "script|flush"      -2 Effect   none            Script(Flush),
    "script|help"        2 Harmless none            Anywhere,
    "script|kill"        2 Effect   none            Script(Kill),
    "script|load"        3 Harmless none            Script(Load),
    "script|show"        3 Harmless none            Primaries(OneSucceeded),
}
