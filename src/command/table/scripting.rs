//! Scripts and functions. Scripts are node-local, so what changes their cache goes to every
//! primary; functions are replicated data and do the same (contract: T4).

use super::commands;

commands! {
    "eval"              -3 Effect   (counted 2)     Script(Eval)            uses RW @slow @scripting,
    "eval_ro"           -3 Read     (counted 2)     Script(Eval)            uses R @slow @scripting,
    "evalsha"           -3 Effect   (counted 2)     Script(EvalSha)         uses RW @slow @scripting,
    "evalsha_ro"        -3 Read     (counted 2)     Script(EvalSha)         uses R @slow @scripting,
    "fcall"             -3 Effect   (counted 2)     Keyed                   uses RW @slow @scripting,
    "fcall_ro"          -3 Read     (counted 2)     Keyed                   uses R @slow @scripting,
    "function"          -2 Harmless none            Container               @slow,
    "function|delete"    3 Write    none            Primaries(AllSucceeded) @write @slow @scripting,
    "function|dump"      2 Harmless none            Anywhere                @slow @scripting,
    "function|flush"    -2 Write    none            Primaries(AllSucceeded) @write @slow @scripting,
    "function|help"      2 Harmless none            Anywhere                @slow @scripting,
    "function|kill"      2 Effect   none            Script(Kill)            @slow @scripting,
    "function|list"     -2 Harmless none            Anywhere                @slow @scripting,
    "function|load"     -3 Write    none            Primaries(AllSucceeded) @write @slow @scripting,
    "function|restore"  -3 Write    none            Primaries(AllSucceeded) @write @slow @scripting,
    "function|stats"     2 Harmless none            Anywhere                @slow @scripting,
    "script"            -2 Harmless none            Container               @slow,
    "script|debug"      -3 Effect   none            Refused                 @slow @scripting,
    "script|exists"     -3 Harmless none            Script(Exists)          @slow @scripting,
    "script|flush"      -2 Effect   none            Script(Flush)           @slow @scripting,
    "script|help"        2 Harmless none            Anywhere                @slow @scripting,
    "script|kill"        2 Effect   none            Script(Kill)            @slow @scripting,
    "script|load"        3 Harmless none            Script(Load)            @slow @scripting,
    "script|show"        3 Harmless none            Primaries(OneSucceeded) @slow @scripting,
}
