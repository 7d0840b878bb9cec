#!/usr/bin/env bash
# Measures, against QEMU where it can run beside, and prints the tables of BENCHMARKS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
install_missing run
install_missing bench
tests/newest-qemu
scripts/web.sh
# The program itself is measured as well.
cargo build --release -p stackvm-cli -p stackvm-bench
cargo run --release -p stackvm-bench
cargo run --release --quiet -p stackvm-cli -- image build debian
for table in debian record fork; do
    cargo run --release --quiet -p stackvm-bench -- "$table"
done
node benches/web/pages.mjs
node benches/web/history.mjs
