#!/usr/bin/env bash
# Installs the client libraries that tests/clients points at Keyway, below target/clients: redis-py
# in a virtual environment, ioredis and node-redis beside each other. Their versions are pinned in
# tests/clients/python/requirements.txt and tests/clients/node/package-lock.json. Quick when
# everything is there.
#
# Where an interpreter is missing it is installed (Debian and Ubuntu, as root or with sudo). Where
# it cannot be had, a file target/clients/{python,node}.missing says why, and the tests of these
# libraries are skipped and say so. A library that cannot be installed is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly home=target/clients
readonly pins=tests/clients

main() {
    mkdir -p $home
    rm -f $home/*.missing
    install_python_libraries
    install_node_libraries
}

install_python_libraries() {
    local stamp=$home/python/stamp
    # A virtual environment whose interpreter went away is made again.
    if is_same $pins/python/requirements.txt $stamp && [ -x $home/python/bin/python ]; then
        return 0
    fi
    need python 'python3 -c "import ensurepip, venv"' python3 python3-venv || return 0
    rm -rf $home/python
    step "redis-py into $home/python" install_into_python
    cp $pins/python/requirements.txt $stamp
}

install_into_python() {
    python3 -m venv $home/python &&
        $home/python/bin/pip install --quiet --disable-pip-version-check \
            --requirement $pins/python/requirements.txt
}

install_node_libraries() {
    local stamp=$home/node_modules/stamp from=$pins/node version
    version=$(node_version)
    if [ "${version:-0}" -ge 20 ] && is_same $from/package-lock.json $stamp; then
        return 0
    fi
    need node 'node --version && npm --version' nodejs npm || return 0
    version=$(node_version)
    if [ "$version" -lt 18 ]; then
        is_missing node "Node.js $version is too old for these libraries (18 or later)"
        return 0
    fi
    # The newest versions of both want 20; Debian 12's own Node.js is 18.
    [ "$version" -ge 20 ] || from=$pins/node/node18
    ! is_same $from/package-lock.json $stamp || return 0
    cp $from/package.json $from/package-lock.json $home/
    step "ioredis and node-redis into $home/node_modules" \
        npm ci --prefix $home --no-audit --no-fund --loglevel=error
    cp $from/package-lock.json $stamp
}

node_version() { node -p 'parseInt(process.versions.node)' 2>/dev/null || true; }

say() { printf '%s\n' "$*" >&2; }

is_same() { cmp --silent "$1" "$2" 2>/dev/null; }

is_missing() {
    say "install-clients: $2; the tests of its libraries are SKIPPED"
    printf '%s\n' "$2" >$home/"$1".missing
}

# need WHAT TEST PACKAGES: whether the test holds, after an attempt to install the packages.
need() {
    local what=$1 test=$2
    shift 2
    ! eval "$test" >/dev/null 2>&1 || return 0
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        is_missing "$what" "there is no $what, and this is no Debian or Ubuntu (needs: $*)"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            is_missing "$what" "there is no $what, and neither root nor sudo to install $*"
            return 1
        fi
        as_root=(sudo)
    fi
    if ! try_step "$*" install_packages "$@" || ! eval "$test" >/dev/null 2>&1; then
        is_missing "$what" "there is no $what, and apt-get could not install $*"
        return 1
    fi
}

install_packages() {
    # A source that is out of order is no reason to stop: the packages may be in another one.
    apt_get update || true
    apt_get install -y --no-install-recommends "$@"
}

apt_get() {
    # Another installation may hold the lock: wait for it.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q "$@"
}

step() { try_step "$@" || exit 1; }

# Runs a step with a dot each second; its output is shown when it fails.
try_step() {
    local what=$1 log pid status=0
    shift
    log=$(mktemp)
    printf 'installing %s ' "$what" >&2
    "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        printf '.' >&2
        sleep 1
    done
    wait "$pid" || status=$?
    if [ "$status" -eq 0 ]; then
        say ' done'
    else
        say ' failed'
        tail -n 30 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

main "$@"
