#!/bin/sh
# Installs what a make target needs and this machine lacks. Asks nothing.
#
#   scripts/install.sh run       Rust and a C compiler
#   scripts/install.sh cluster   also Redis, PostgreSQL and NGINX
#   scripts/install.sh observe   also Prometheus, Alertmanager and four exporters
#   scripts/install.sh test      all of that, rustfmt, clippy, Node, Python and Chromium
#   scripts/install.sh bench     Rust, a C compiler and Python, whose SQLite is the yardstick
#   scripts/install.sh bench-cluster   what a cluster needs, and psql
#
# Nothing is installed that is there already, and nothing is fetched then.
set -eu

target="${1:?which target: run, cluster, observe, test, bench or bench-cluster}"
cd "$(dirname "$0")/.."

say() { echo "install: $*" >&2; }
fail() {
    say "$*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or with a sudo that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        fail "this needs root: $*"
    fi
}

# Debian packages, all at once, so that the lists are fetched once.
packages=
need() { packages="$packages $*"; }
install_packages() {
    [ -n "$packages" ] || return 0
    have apt-get || fail "please install, with your system's package manager:$packages"
    if [ "$(id -u)" != 0 ] && ! { have sudo && sudo -n true 2>/dev/null; }; then
        fail "please run as root: apt-get install$packages"
    fi
    say "installing$packages (a minute or two)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages >/dev/null
    packages=
}

have cc || need gcc libc6-dev
case "$target" in
test | bench) have python3 || need python3 ;;
esac
case "$target" in
cluster | observe | test | bench-cluster)
    # The cluster runs servers of its own, on ports that it finds free; what Debian starts of these
    # packages is left alone.
    have redis-server || have valkey-server || need redis-server
    have nginx || [ -x /usr/sbin/nginx ] || need nginx
    have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || need postgresql
    ;;
esac
if [ "$target" = bench-cluster ]; then
    have psql || need postgresql-client
fi
case "$target" in
observe | test)
    for package in prometheus prometheus-alertmanager prometheus-redis-exporter \
        prometheus-postgres-exporter prometheus-nginx-exporter prometheus-node-exporter; do
        have "$package" || need "$package"
    done
    ;;
esac
if [ "$target" = test ]; then
    have node || need nodejs
    have npm || need npm
    python3 -c 'import ensurepip' 2>/dev/null || need python3-venv
    have chromium || have chromium-browser || have google-chrome || need chromium
fi
install_packages
if [ "$target" = test ] && [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    fail "the tests of the page need Node 20 or newer; this is $(node --version)"
fi

# Rust. Distributions' own compilers are usually too old, so it comes from rustup.
wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
rust_is_new_enough() {
    have cargo && have rustc || return 1
    found="$(rustc --version 2>/dev/null | cut -d' ' -f2 | cut -d- -f1)"
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ]
}
if ! rust_is_new_enough; then
    if ! have rustup && have apt-get && apt-cache show rustup >/dev/null 2>&1; then
        need rustup
        install_packages
    fi
    have rustup || fail "Banter needs Rust $wanted or newer: install it from https://rustup.rs"
    say "installing Rust (two minutes)"
    rustup toolchain install stable --profile minimal --component rustfmt,clippy
    rustup default stable
    rust_is_new_enough || fail "Rust is still older than $wanted; is another one first in PATH?"
fi
if [ "$target" = test ]; then
    cargo fmt --version >/dev/null 2>&1 || missing="${missing:-} rustfmt"
    cargo clippy --version >/dev/null 2>&1 || missing="${missing:-} clippy"
    if [ -n "${missing:-}" ]; then
        have rustup || fail "please install for this Rust:$missing"
        # shellcheck disable=SC2086 # a list of words
        rustup component add $missing
    fi
fi
[ "$target" = test ] || exit 0

# Clients that are not ours, for the tests; kept apart from the system's own packages.
clients=crates/banter/tests/clients
if [ -f "$clients/requirements.txt" ]; then
    python="$clients/.venv"
    if ! cmp -s "$clients/requirements.txt" "$python/installed.txt"; then
        say "installing the Python clients of the tests (seconds)"
        python3 -m venv "$python"
        "$python/bin/pip" install --quiet --disable-pip-version-check \
            -r "$clients/requirements.txt"
        cp "$clients/requirements.txt" "$python/installed.txt"
    fi
fi
for folder in "$clients" web; do
    [ -f "$folder/package-lock.json" ] || continue
    if ! cmp -s "$folder/package-lock.json" "$folder/node_modules/installed.json"; then
        say "installing the packages of $folder (seconds)"
        (cd "$folder" && npm ci --silent --no-audit --no-fund)
        cp "$folder/package-lock.json" "$folder/node_modules/installed.json"
    fi
done
