# What the other scripts share. Sourced, with the repository root as working directory.
# shellcheck shell=bash

# say TEXT...: one line of ours, told apart from the tools' own output.
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# fail WHAT TODO: stops with what happened and what to do.
fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

# section NAME COMMAND...: runs a command under a header and prints how long it took.
section() {
    local name=$1 start=$SECONDS status=0
    shift
    printf '\n\033[1m==== %s\033[0m\n' "$name"
    "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        printf '\033[1m==== %s: FAILED after %d s (exit code %d)\033[0m\n' \
            "$name" $((SECONDS - start)) "$status"
        exit "$status"
    fi
    printf '==== %s: ok, %d s\n' "$name" $((SECONDS - start))
}

# is_debian: whether this is Debian itself, whose apt configuration names a Debian mirror.
is_debian() { [ -r /etc/os-release ] && grep -qx 'ID="\?debian"\?' /etc/os-release; }

# packages_for PURPOSE: the packages of one purpose.
packages_for() { sed -n "s/^$1 //p" scripts/packages.txt; }

# missing_packages PURPOSE: those of them that are not installed.
missing_packages() {
    local package
    for package in $(packages_for "$1"); do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$package"
    done
}

# install_missing PURPOSE: installs them, and only them.
install_missing() {
    local missing
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; taking for granted: $(packages_for "$1" | paste -sd ' ')"
        return
    fi
    missing=$(missing_packages "$1" | paste -sd ' ')
    [ -n "$missing" ] || return 0
    say "installing: $missing"
    # shellcheck disable=SC2086 # a list of package names
    { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $missing; } >&2 ||
        fail "these packages could not be installed: $missing" \
            "install them yourself, then run the same command again"
}

# as_root COMMAND...: runs it as root, through sudo if need be.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "packages are missing, this is not root and there is no sudo" "as root: $*"
    fi
}

# need_tools: the two things that are not taken from Debian.
need_tools() {
    local major
    command -v cargo >/dev/null ||
        fail "there is no cargo (Rust)" "install Rust from https://rustup.rs, then run this again"
    { command -v node && command -v npm; } >/dev/null ||
        fail "there is no node or npm" "install Node 20 or newer with npm, then run this again"
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] ||
        fail "node is version $(node -v), too old for the pages" "install Node 20 or newer"
}

# test_runner ARGS...: how Rust's tests are run; nextest where it is installed.
test_runner() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast "$@"
    else
        cargo test --no-fail-fast "$@"
    fi
}
