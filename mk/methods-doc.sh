#!/usr/bin/env bash
# methods-doc.sh [WEFT] - prints docs/METHODS.md: what the program says of its methods, and how good merges are.
set -u
cd "$(dirname "$0")/.." || exit 1
"${1:-build/weft}" methods --markdown || exit 1
cat <<'TEXT'

## How good are they?

Bits per byte of held-out text (lower is better) for the small language models of `tests/data/tinylm`: a base, and
experts of three domains. Made by `make quality`; nothing here was tuned on these models.

TEXT
cat bench/quality/tinylm.txt
