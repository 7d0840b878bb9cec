#!/usr/bin/env bash
# From a fresh clone to a Linux prompt in the browser: installs what is missing, builds (while the
# guest's packages download), then `stackvm up`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if [ -z "${MIRROR:-}" ] && ! is_debian; then
    fail "this is not Debian, so its package sources do not say where Debian's packages are" \
        "make run MIRROR=URL, with the URL of a Debian mirror (it has a dists/ folder)"
fi
mirror=(${MIRROR:+--mirror "$MIRROR"})
target="${CARGO_TARGET_DIR:-target}/release"

if [ -x "$target/stackvm" ]; then
    say "building what has changed, then: stackvm up"
else
    say "the first time takes 2 to 5 minutes on two cores: missing packages are installed, the"
    say "pages and the program are built (crates and npm packages: about 50 MB), and meanwhile"
    say "a kernel and a few tools for the guest are downloaded from Debian (about 125 MB)."
    say "Then a link is printed. After that, the same command takes seconds."
fi

need_tools
install_missing run

# The downloader needs little, so it is built first and works while the rest compiles. It ends with
# its standard input; what it has not done by then, `stackvm up` does, with its progress on the page.
say "building the downloader"
cargo build --release --quiet -p stackvm-images --bin stackvm-fetch
exec 3> >("$target/stackvm-fetch" ${MIRROR:+"$MIRROR"} >/dev/null 2>&1)
fetch=$!

say "building the pages"
scripts/web.sh >&2 3>&-
say "building stackvm"
cargo build --release -p stackvm-cli 3>&-
exec 3>&-
wait "$fetch" || true

exec "$target/stackvm" up "${mirror[@]}"
