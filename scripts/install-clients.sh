#!/usr/bin/env bash
# Installs what tests/clients and tests/applications point at Keyway, below target/clients. The
# libraries: redis-py in a virtual environment, ioredis and node-redis beside each other. The
# applications, in target/clients/applications: those in Python in a virtual environment (arq in
# another, since it wants an older redis-py), those in JavaScript, and Sidekiq from the distribution.
# Versions are pinned in the requirements.txt and package-lock.json files of these tests. Quick when
# everything is there.
#
# Where an interpreter is missing it is installed (Debian and Ubuntu, as root or with sudo). Where
# it cannot be had, a file target/clients/{python,node,ruby}.missing says why, and the tests that
# need it are skipped and say so. A library that cannot be installed is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly home=target/clients
readonly apps=$home/applications
readonly pins=tests/clients
readonly app_pins=tests/applications

main() {
    mkdir -p $apps
    rm -f $home/*.missing $apps/*.missing
    if has_python; then
        install_python redis-py $home/python $pins/python/requirements.txt
        install_python "Celery, RQ and others" $apps/python $app_pins/python/requirements.txt
        install_python arq $apps/arq $app_pins/python/arq/requirements.txt
    fi
    if has_node; then
        # The newest versions of both want 20; Debian 12's own Node.js is 18.
        local from=$pins/node
        [ "$(node_version)" -ge 20 ] || from=$pins/node/node18
        install_node "ioredis and node-redis" $home $from
        if [ "$(node_version)" -ge 20 ]; then
            install_node "BullMQ and others" $apps $app_pins/node
        else
            is_missing applications/node "Node.js $(node_version) is too old for BullMQ and others (20 or later)"
        fi
    fi
    install_sidekiq
}

has_python() {
    need python 'python3 -c "import ensurepip, venv"' python3 python3-venv
}

# install_python WHAT FOLDER REQUIREMENTS
install_python() {
    local what=$1 folder=$2 requirements=$3
    # A virtual environment whose interpreter went away is made again.
    if is_same "$requirements" "$folder/stamp" && [ -x "$folder/bin/python" ]; then
        return 0
    fi
    rm -rf "$folder"
    step "$what into $folder" fill_python "$folder" "$requirements"
    cp "$requirements" "$folder/stamp"
}

fill_python() {
    python3 -m venv "$1" &&
        "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
}

has_node() {
    need node 'node --version && npm --version' nodejs npm || return 1
    if [ "$(node_version)" -lt 18 ]; then
        is_missing node "Node.js $(node_version) is too old for these libraries (18 or later)"
        return 1
    fi
}

# install_node WHAT FOLDER PINS
install_node() {
    local what=$1 folder=$2 from=$3 stamp=$2/node_modules/stamp
    ! is_same "$from/package-lock.json" "$stamp" || return 0
    cp "$from/package.json" "$from/package-lock.json" "$folder/"
    step "$what into $folder/node_modules" \
        npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error
    cp "$from/package-lock.json" "$stamp"
}

install_sidekiq() {
    need ruby '/usr/bin/ruby -e "require %q(sidekiq); require %q(redis-namespace)" && test -x /usr/bin/sidekiq' \
        ruby ruby-sidekiq ruby-redis-namespace || true
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
