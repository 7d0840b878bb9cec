#!/usr/bin/env bash
# Everything that must hold before a change is taken. Nothing is skipped: what a test needs is
# installed first, and a missing tool is a failure.
#
# Tests run in the release profile, so that everything is compiled once and guests boot quickly.
# The first floor's tests run again in the debug profile: overflow checks on, same digests.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

install_for_tests() { install_missing run && install_missing test && tests/newest-qemu; }
browser_tests() { (cd web && npm test); }
boot_digest() { cargo run --quiet "$@" -p stackvm-tests --bin boot-digest target/tmp/images-home; }
one_digest() {
    local release debug
    release=$(boot_digest --release)
    debug=$(boot_digest)
    printf 'release %s\ndebug   %s\n' "$release" "$debug"
    [ "$release" = "$debug" ]
}
doc_tests() { cargo test --release --workspace --doc; }

need_tools
section "install what the tests need" install_for_tests
scripts/check.sh
section "build" cargo build --release --workspace --all-targets
section "tests" test_runner --release --workspace
section "documentation examples" doc_tests
section "first floor, debug profile" test_runner -p stackvm-riscv -p stackvm-jit -p stackvm-machine
section "a boot's digest in debug and release" one_digest
section "HTTP interface" tests/http-interface
section "pages: browser tests" browser_tests
