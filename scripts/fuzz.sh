#!/usr/bin/env bash
# Fuzzes each target for so many seconds, FUZZ_JOBS at a time or as many as there are cores. Needs a C++ compiler
# (for libFuzzer) and no other Rust than the project's.
#
#   scripts/fuzz.sh                     all targets for 60 s each
#   scripts/fuzz.sh 3600 session users  these for an hour each
#
# Inputs that reach new code are kept in fuzz/corpus; one that fails is in fuzz/artifacts, and its
# path as the program's argument runs it again. The coverage that guides the fuzzer is the compiler's
# own. AddressSanitizer, which needs a nightly compiler and makes all of it many times slower, would
# look for what safe Rust cannot do: this crate forbids unsafe code.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-60}
[ $# -eq 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(requests replies views commands config addresses proxy_header users session)

coverage=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=("-Cllvm-args=-sanitizer-coverage-$option")
done
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named the flags are for the program alone, not for what builds it.
RUSTFLAGS="${coverage[*]} --cfg fuzzing" cargo build --locked --quiet --release --target "$host"
export programs="${CARGO_TARGET_DIR:-target}/$host/release" seconds

fuzz() {
    local target=$1 log options=()
    mkdir -p "corpus/$target" "artifacts/$target"
    log=$(mktemp)
    # A story is short, and long ones hide what is new in them.
    [ "$target" != session ] || options=(-max_len=400 -len_control=0)
    # Rows that servers announce live as long as the process, so leaks are not looked for.
    if "$programs/$target" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -detect_leaks=0 \
        -rss_limit_mb=4096 -timeout=300 -artifact_prefix="artifacts/$target/" "${options[@]}" >"$log" 2>&1; then
        printf 'fuzz %-12s %s\n' "$target" "$(grep -E '^Done ' "$log")"
        rm -f "$log"
    else
        tail -n 60 "$log"
        rm -f "$log"
        printf 'fuzz %-12s FAILED: see above, and fuzz/artifacts/%s\n' "$target" "$target"
        return 1
    fi
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I {} bash -c 'fuzz {}'
