#!/usr/bin/env bash
# Measures, against QEMU where it can run beside, and prints the tables of BENCHMARKS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
install_missing run
install_missing bench
tests/newest-qemu
cargo run --release -p stackvm-bench
cargo run --release --quiet -p stackvm-cli -- image build debian
for table in debian start seek record fork; do
    cargo run --release --quiet -p stackvm-bench -- "$table"
done
scripts/web.sh
node benches/web/pages.mjs
