#!/usr/bin/env bash
# Measures against QEMU and prints the table of BENCHMARKS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
install_missing run
install_missing bench
tests/newest-qemu
cargo run --release -p stackvm-bench
