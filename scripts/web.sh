#!/usr/bin/env bash
# Builds the pages into web/dist, from where the release binary embeds them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
cd web
# `npm ci` starts from nothing each time; the lock file's copy says whether it has to.
if ! cmp -s package-lock.json node_modules/.stackvm-lock; then
    npm ci --no-audit --no-fund
    cp package-lock.json node_modules/.stackvm-lock
fi
# Pages that are newer than everything they are made from stay, so that cargo has nothing to do.
if [ ! -f dist/index.html ] || [ -n "$(find . -path ./node_modules -prune -o -path ./dist -prune \
    -o -path ./tests -prune -o -type f -newer dist/index.html -print -quit)" ]; then
    npm run build
fi
