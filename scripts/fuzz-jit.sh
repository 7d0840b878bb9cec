#!/usr/bin/env bash
# Random instruction sequences on every engine and on QEMU, another seed each round, until the time
# is over or something differs. A difference names its seed and keeps its program.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
install_missing test
tests/newest-qemu
hours=${HOURS:-1}
[ -n "$hours" ] || hours=1
end=$((SECONDS + $(awk "BEGIN { print int($hours * 3600) }")))
seed=$(date +%s)
cargo build --release -p stackvm-tests --tests
while [ "$SECONDS" -lt "$end" ]; do
    STACKVM_DIFF_SEED=$seed cargo test --release --quiet -p stackvm-tests --test difftest \
        random_sequences
    echo "seed $seed: the same everywhere"
    seed=$((seed + 1))
done
