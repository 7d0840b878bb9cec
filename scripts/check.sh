#!/usr/bin/env bash
# The quick checks: formatting, lints, types of the pages.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

pages_types() { (cd web && npm run check); }
# The first floor and the recording's read side run in browsers as well, so they must compile for
# them.
browser_floor() {
    local target=wasm32-unknown-unknown
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target" ||
        fail "the Rust target $target is not installed" "rustup target add $target"
    cargo check --release --target "$target" \
        -p stackvm-riscv -p stackvm-jit -p stackvm-machine -p stackvm-store -p stackvm-timeline
}

need_tools
section "format" cargo fmt --all --check
section "pages: build" scripts/web.sh
section "pages: types" pages_types
section "first floor and recording for browsers" browser_floor
section "lints" cargo clippy --release --workspace --all-targets -- -D warnings
