#!/usr/bin/env bash
# Installs what the tests, the demo and the bench need. Quick when everything is there.
#
#   scripts/install-servers.sh                both servers: redis-server 7.0 and valkey-server 8.0
#   scripts/install-servers.sh --only redis   redis-server and redis-cli alone (the demo)
#   scripts/install-servers.sh --bench        the bench's peers as well: nutcracker haproxy strace
#   scripts/install-servers.sh --clients      real client libraries, into target/clients
#
# Debian and Ubuntu, as root or with sudo. The packages' own services are neither started nor left
# holding port 6379. valkey-server comes from the distribution, or from its backports: their source
# is derived from the machine's own, with the suite replaced.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    local want_redis=yes want_valkey=yes want_bench=no want_clients=no
    while [ $# -gt 0 ]; do
        case "$1" in
        --only)
            case "${2:-}" in
            redis) want_valkey=no ;;
            valkey) want_redis=no ;;
            *) fail "--only takes redis or valkey, not '${2:-}'" ;;
            esac
            shift
            ;;
        --bench) want_bench=yes ;;
        --clients) want_clients=yes ;;
        *) fail "unknown option '$1'; the head of $0 tells what there is" ;;
        esac
        shift
    done

    local packages=()
    if [ "$want_redis" = yes ] && ! has redis-server redis-cli redis-benchmark; then
        packages+=(redis-server redis-tools)
    fi
    if [ "$want_valkey" = yes ] && ! has valkey-server; then
        packages+=(valkey-server)
    fi
    if [ "$want_bench" = yes ]; then
        has nutcracker || packages+=(nutcracker)
        has haproxy || packages+=(haproxy)
        has strace || packages+=(strace)
    fi
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
    [ "$want_clients" = no ] || scripts/install-clients.sh
}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "install-servers: $*"
    exit 1
}

has() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || return 1
    done
}

# ---- Debian packages -------------------------------------------------------------------------

as_root=()
log=
policy=/usr/sbin/policy-rc.d
policy_is_ours=no

install_packages() {
    has apt-get || fail "this is no Debian or Ubuntu; please install by hand, then run this again: $*
  servers:  redis-server and redis-cli (Redis 7.0 or later), valkey-server (Valkey 8.0 or later)
  for example: 'brew install redis valkey', 'dnf install redis valkey', 'pacman -S redis valkey'"
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "needs root to install: $* (neither root nor sudo here)"
        as_root=(sudo)
    fi
    log=$(mktemp)
    trap 'forbid_services_no_more; rm -f "$log"' EXIT
    say "installing $*"
    run "reading package lists" update_lists
    if wants valkey-server "$@" && ! is_available valkey-server; then
        add_backports
    fi
    forbid_services
    run "installing packages" apt_get install -y --no-install-recommends "$@"
    forbid_services_no_more
    keep_services_off "$@"
    rm -f "$log"
    trap - EXIT
}

apt_get() {
    # Another installation may hold the lock: wait for it.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q "$@"
}

# A source of the machine's that is out of order is no reason to stop: what is needed may be
# elsewhere, and if not, the installation says so.
update_lists() {
    apt_get update || true
}

# Runs a step with its output kept for the case of failure, and a dot each second meanwhile.
run() {
    local what=$1 pid status=0
    shift
    printf '  %s ' "$what" >&2
    "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        printf '.' >&2
        sleep 1
    done
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        say ' failed'
        tail -n 30 "$log" >&2
        exit "$status"
    fi
    say ' done'
}

wants() {
    local package=$1 wanted
    shift
    for wanted in "$@"; do
        [ "$wanted" != "$package" ] || return 0
    done
    return 1
}

is_available() {
    local policy_text
    # Not piped: with pipefail, a reader that has seen enough would count as a failure.
    policy_text=$(apt-cache policy "$1" 2>/dev/null)
    [[ $policy_text == *"Candidate: "[!\(]* ]]
}

# The same mirror, key and components as the machine's own Debian source, another suite.
add_backports() {
    local codename sources=/etc/apt/sources.list.d found=
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    [ "$(. /etc/os-release && printf '%s' "$ID")" = debian ] ||
        fail "this distribution has no valkey-server; please install Valkey 8.0 or later by hand"
    say "  valkey-server is not in $codename itself: adding $codename-backports"
    if [ -f "$sources/debian.sources" ]; then
        # The first stanza whose suites name the release itself; only its suites change.
        awk -v RS= -v suite="$codename" '
            {
                keep = 0
                lines = split($0, line, "\n")
                for (i = 1; i <= lines; i++)
                    if (line[i] ~ /^Suites:/ && (" " substr(line[i], 8) " ") ~ (" " suite " ")) {
                        line[i] = "Suites: " suite "-backports"
                        keep = 1
                    }
                if (keep && !done) {
                    for (i = 1; i <= lines; i++) print line[i]
                    done = 1
                }
            }' "$sources/debian.sources" >"$log.source"
        found=keyway-backports.sources
    elif [ -f /etc/apt/sources.list ]; then
        awk -v suite="$codename" '
            $1 == "deb" {
                for (i = 2; i <= NF; i++)
                    if ($i == suite && !done) {
                        $i = suite "-backports"
                        print
                        done = 1
                    }
            }' /etc/apt/sources.list >"$log.source"
        found=keyway-backports.list
    fi
    if [ -z "$found" ] || [ ! -s "$log.source" ]; then
        rm -f "$log.source"
        fail "found no Debian source to derive backports from; please install valkey-server by hand"
    fi
    "${as_root[@]}" install -m 644 "$log.source" "$sources/$found"
    rm -f "$log.source"
    run "reading package lists again" update_lists
    is_available valkey-server || fail "$codename-backports has no valkey-server"
}

# While packages are configured, this file tells them not to start their services. One that is
# there already (containers often have one that says the same) stays as it is.
forbid_services() {
    [ ! -e "$policy" ] || return 0
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
}

forbid_services_no_more() {
    [ "$policy_is_ours" = yes ] || return 0
    "${as_root[@]}" rm -f "$policy"
    policy_is_ours=no
}

# The next boot must not start them either. Only services that this run brought are touched.
keep_services_off() {
    local service
    for service in "$@"; do
        case "$service" in redis-server | valkey-server | nutcracker | haproxy) ;; *) continue ;; esac
        if [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl disable --now --quiet "$service" 2>/dev/null || true
        elif has update-rc.d; then
            "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true
        fi
    done
}

main "$@"
