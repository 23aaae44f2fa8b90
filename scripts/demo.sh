#!/usr/bin/env bash
# `make demo`: a cluster of six Redis nodes, Keyway before it, and a short tour. It then stays up
# until Ctrl-C and removes everything it started.
#
#   DEMO_ONCE=1       end after the tour; fails if the load saw an error or a wrong reply
#   DEMO_PROGRAM=...  use this program and build nothing
set -euo pipefail
cd "$(dirname "$0")/.."

node_ports=()
started=()         # every process to end, in the order of starting
folder=
load_feeds=()
load_checks=()
tour_failed=no

main() {
    trap clean_up EXIT
    trap 'printf "\n"; exit 0' INT TERM
    need_bash_tcp
    prepare
    start_cluster
    start_keyway
    tour
    if [ "${DEMO_ONCE:-}" = 1 ]; then
        [ "$tour_failed" = no ] || exit 1
        return
    fi
    stay
}

# ---- Saying and waiting ------------------------------------------------------------------------

bold= plain= grey=
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m' grey=$'\e[90m'
fi

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }

fail() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}

# Shows a command as one would type it, and its output.
show() {
    printf '  %s$ %s%s\n' "$grey" "$*" "$plain"
    "$@" 2>&1 | sed 's/^/    /'
}

# wait_for SECONDS WHAT COMMAND...: a dot each half second until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 deadline tries=0
    shift 2
    deadline=$((SECONDS + seconds))
    printf '  %s ' "$what"
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            printf ' no\n'
            fail "not within $seconds s: $what${folder:+; its logs:
$(tail -n 5 "$folder"/*.log 2>/dev/null)}"
        fi
        [ $((tries++ % 5)) -ne 0 ] || printf '.'
        sleep 0.1
    done
    printf ' done\n'
}

# ---- Starting and ending -----------------------------------------------------------------------

need_bash_tcp() {
    # A port nobody listens on refuses at once; a bash without /dev/tcp says something else.
    local answer
    answer=$( (exec 3<>/dev/tcp/127.0.0.1/1) 2>&1) || true
    case "$answer" in
    *"No such file"*) fail "this bash has no /dev/tcp, which the demo uses to find free ports" ;;
    esac
}

prepare() {
    chapter "Preparing"
    scripts/install-servers.sh --only redis
    keyway=${DEMO_PROGRAM:-}
    if [ -z "$keyway" ]; then
        command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
        say "building Keyway (the first time this takes a few minutes)"
        cargo build --release --locked
        keyway=${CARGO_TARGET_DIR:-target}/release/keyway
    fi
    folder=$(mktemp -d "${TMPDIR:-/tmp}/keyway-demo-XXXXXX")
}

# Starts a program in the background with its output in a log. It ends with this script, also when
# the script is killed, where the system can promise that.
ends_with_us=()
if setpriv --pdeathsig TERM true 2>/dev/null; then
    ends_with_us=(setpriv --pdeathsig TERM)
fi
start() {
    local log=$1
    shift
    "${ends_with_us[@]}" "$@" >>"$folder/$log.log" 2>&1 </dev/null &
    started+=($!)
}

clean_up() {
    local status=$? pid
    trap - EXIT INT TERM
    if [ ${#started[@]} -gt 0 ]; then
        say "stopping everything"
        for pid in "${load_feeds[@]}" "${started[@]}"; do
            kill "$pid" 2>/dev/null || true
        done
        wait 2>/dev/null || true
    fi
    [ -z "$folder" ] || rm -rf "$folder"
    exit "$status"
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The next free port from $1 on; with a second argument its cluster bus port must be free as well.
free_port() {
    local port=$1
    while is_taken "$port" || { [ $# -gt 1 ] && is_taken $((port + 10000)); }; do
        port=$((port + 1))
        [ "$port" -lt 22000 ] || fail "no free port"
    done
    printf '%s' "$port"
}

start_cluster() {
    chapter "A cluster of six nodes: three primaries, a replica for each"
    local port=7000 number
    for number in 1 2 3 4 5 6; do
        port=$(free_port $((port + 1)) bus)
        node_ports+=("$port")
        mkdir "$folder/node-$number"
        start "node-$number" redis-server --port "$port" --bind 127.0.0.1 \
            --dir "$folder/node-$number" --cluster-enabled yes --cluster-node-timeout 2000 \
            --cluster-require-full-coverage no --save "" --appendonly no \
            --repl-diskless-sync-delay 0
    done
    for port in "${node_ports[@]}"; do
        wait_for 20 "node on port $port" redis-cli -p "$port" ping
    done
    redis-cli --cluster create "${node_ports[@]/#/127.0.0.1:}" --cluster-replicas 1 \
        --cluster-yes >"$folder/create.log" 2>&1 &
    local creating=$!
    wait_for 60 "joining them" has_ended "$creating"
    wait "$creating" || fail "redis-cli --cluster create: $(tail -n 5 "$folder/create.log")"
    wait_for 60 "all nodes agree" cluster_agrees
}

has_ended() { ! kill -0 "$1" 2>/dev/null; }

cluster_agrees() {
    local port text
    for port in "${node_ports[@]}"; do
        text=$(redis-cli -p "$port" cluster info) || return 1
        [[ $text == *cluster_state:ok* && $text == *cluster_known_nodes:6* ]] || return 1
        text=$(redis-cli -p "$port" info replication) || return 1
        [[ $text != *master_link_status:down* ]] || return 1
        # Who replicates whom travels by gossip, and later than the rest.
        [ "$(redis-cli -p "$port" cluster nodes | grep -c ' [a-z,]*slave ')" -eq 3 ] || return 1
    done
    redis-cli --cluster check "127.0.0.1:${node_ports[0]}" >/dev/null
}

start_keyway() {
    chapter "Keyway before it"
    listen_port=$(free_port 6379)
    admin_port=$(free_port 9121)
    [ "$listen_port" = 6379 ] || say "port 6379 is taken: Keyway listens on $listen_port instead"
    # Two seeds are enough: the rest Keyway learns from them.
    KEYWAY_SEEDS="127.0.0.1:${node_ports[0]},127.0.0.1:${node_ports[1]}" \
        KEYWAY_LISTEN="127.0.0.1:$listen_port" KEYWAY_ADMIN="127.0.0.1:$admin_port" \
        start keyway "$keyway"
    keyway_pid=${started[-1]}
    wait_for 20 "Keyway on port $listen_port" keyway_is_ready
}

keyway_is_ready() {
    kill -0 "$keyway_pid" && [[ $(admin /ready) == "HTTP/1.1 200"* ]]
}

# GET on the admin port, with nothing but bash.
admin() {
    exec 4<>"/dev/tcp/127.0.0.1/$admin_port" || return 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&4
    cat <&4
    exec 4>&-
}

# ---- The tour ------------------------------------------------------------------------------------

cli() { redis-cli -p "$listen_port" "$@"; }
# What the reader sees typed must be what runs.
show_cli() { show redis-cli -p "$listen_port" "$@"; }

tour() {
    chapter "1. The cluster, as its nodes see it"
    redis-cli -p "${node_ports[0]}" cluster nodes | sort -k 9n |
        awk '{ split($2, at, "@"); print "    " at[1], ($3 ~ /slave/ ? "replica" : "primary"), $9 }'

    chapter "2. One plain connection, keys on every node"
    local key
    for key in pear apple lemon; do
        say "slot $(redis-cli -p "${node_ports[0]}" cluster keyslot $key), on node $(owner_of $key):"
        show_cli set $key "sweet-$key"
        show_cli get $key
    done
    chapter "3. One command over several nodes"
    show_cli mget pear apple lemon
    show_cli exists pear apple lemon nothing
    show_cli dbsize

    chapter "4. A planned failover under load"
    local old new
    old=$(owner_of apple)
    new=$(replica_port_of "$old")
    start_load
    say "four clients write and read; the replica on port $new takes over from port $old"
    redis-cli -p "$new" cluster failover >/dev/null
    wait_for 30 "taking over" is_primary "$new"
    let_load_run 2
    end_load

    chapter "5. Slots moved under load"
    local from to
    from=$new
    to=$(owner_of pear)
    # Everybody must know of the failover before slots are moved.
    wait_for 30 "all nodes agree" cluster_agrees
    start_load
    say "four clients write and read; 200 slots go from port $from to port $to"
    redis-cli --cluster reshard "127.0.0.1:$from" --cluster-yes --cluster-slots 200 \
        --cluster-from "$(redis-cli -p "$from" cluster myid)" \
        --cluster-to "$(redis-cli -p "$to" cluster myid)" >"$folder/reshard.log" 2>&1 &
    local moving=$!
    wait_for 120 "moving" has_ended "$moving"
    wait "$moving" || fail "redis-cli --cluster reshard: $(tail -n 5 "$folder/reshard.log")"
    let_load_run 1
    end_load

    chapter "6. Where to look"
    say "metrics   http://127.0.0.1:$admin_port/metrics"
    say "topology  http://127.0.0.1:$admin_port/topology"
    say "ready     http://127.0.0.1:$admin_port/ready"
}

owner_of() {
    local slot
    slot=$(redis-cli -p "${node_ports[0]}" cluster keyslot "$1")
    redis-cli -p "${node_ports[0]}" cluster nodes | awk -v slot="$slot" '
        $3 ~ /master/ && $3 !~ /fail/ {
            for (i = 9; i <= NF; i++) {
                split($i, ends, "-")
                if (ends[1] <= slot + 0 && slot + 0 <= (ends[2] == "" ? ends[1] : ends[2]) + 0) {
                    split($2, at, /[:@]/)
                    print at[2]
                }
            }
        }'
}

replica_port_of() {
    local id
    id=$(redis-cli -p "$1" cluster myid)
    redis-cli -p "$1" cluster nodes |
        awk -v id="$id" '$4 == id && $3 !~ /fail/ { split($2, at, /[:@]/); print at[2] }'
}

is_primary() { [[ $(redis-cli -p "$1" role) == master* ]]; }

# The load: four redis-cli, each with a feed of SET and GET of the same key and a check of each
# reply. A GET must bring what the SET before it wrote; the numbers tell.
start_load() {
    local client
    load_feeds=()
    load_checks=()
    for client in 1 2 3 4; do
        mkfifo "$folder/feed-$client"
        { cli <"$folder/feed-$client" 2>&1 | check_replies "$client" >"$folder/checked-$client"; } &
        load_checks+=($!)
        awk -v c="$client" -v stop="$folder/stop-load" 'BEGIN {
            # Ends between two commands, when the stop file is there.
            for (i = 1; i % 100 || (getline line < stop) < 0; i++) {
                key = "tour:" c ":" (i % 5000)
                print "SET", key, c ":" i
                print "GET", key
            }
        }' >"$folder/feed-$client" 2>/dev/null &
        load_feeds+=($!)
    done
    let_load_run 1
}

check_replies() {
    awk -v c="$1" '
        $0 == "OK" { right++; next }
        index($0, c ":") == 1 {
            number = substr($0, length(c) + 2) + 0
            if (number > last) { right++ } else { wrong++ }
            last = number
            next
        }
        $0 == "" { next }
        { errors++; if (sample == "") sample = $0 }
        END { print right + 0, errors + 0, wrong + 0, sample }'
}

let_load_run() {
    local halves=$(($1 * 2))
    printf '  the load runs '
    while [ $((halves--)) -gt 0 ]; do
        printf '.'
        sleep 0.5
    done
    printf '\n'
}

end_load() {
    local client right errors wrong sample total=0 all_errors=0 all_wrong=0
    # The feeds end; each redis-cli reads its pipe to the end, and each check prints its counts.
    : >"$folder/stop-load"
    wait "${load_feeds[@]}" "${load_checks[@]}" || true
    rm -f "$folder/stop-load"
    load_feeds=()
    for client in 1 2 3 4; do
        read -r right errors wrong sample <"$folder/checked-$client" || true
        total=$((total + right))
        all_errors=$((all_errors + errors))
        all_wrong=$((all_wrong + wrong))
        [ -z "$sample" ] || say "for example: $sample"
        rm -f "$folder/feed-$client" "$folder/checked-$client"
    done
    say "${bold}$total replies right, $all_errors errors, $all_wrong wrong${plain}"
    [ "$all_errors" -eq 0 ] && [ "$all_wrong" -eq 0 ] && [ "$total" -gt 0 ] || tour_failed=yes
}

stay() {
    chapter "It is yours: redis-cli -p $listen_port, or redis://127.0.0.1:$listen_port"
    say "nodes on ports ${node_ports[*]}; kill one and see. Ctrl-C ends and removes everything."
    # In pieces, so that a signal is seen at once.
    while kill -0 "$keyway_pid" 2>/dev/null; do
        sleep 1 &
        wait $! || true
    done
    fail "Keyway has ended: $(tail -n 5 "$folder/keyway.log")"
}

main "$@"
