#!/usr/bin/env bash
# The quick checks: formatting, lints, types of the pages.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

pages_types() { (cd web && npm run check); }

need_tools
section "format" cargo fmt --all --check
section "pages: build" scripts/web.sh
section "pages: types" pages_types
section "lints" cargo clippy --release --workspace --all-targets -- -D warnings
