#!/usr/bin/env bash
# golden.sh - files that weft must accept, merges that must give known bytes, and files and recipes it must reject with a
# stated exit code.
#
#   tests/golden/accept/        inspect, verify: 0
#   tests/golden/equal/         merge NAME.yaml: weights with the checksum in NAME.sha256
#   tests/golden/reject-3/      inspect: 3, verify: 1 or 3
#   tests/golden/recipes/reject-2/   plan: 2, merge: 2 and nothing written
source tests/suite/suite.sh
requires build/plain/weft
weft=build/plain/weft

for file in tests/golden/accept/*; do
    [ -e "$file" ] || continue
    expect_exit "inspect accepts $file" 0 $weft inspect "$file"
    expect_exit "verify accepts $file" 0 $weft verify "$file"
done
for file in tests/golden/equal/*.yaml; do
    rm -rf "$SCRATCH/equal"
    expect_exit "merge $file" 0 $weft merge "$file" "$SCRATCH/equal" --progress none
    got=$(sha256sum <"$SCRATCH/equal/model.safetensors" | cut -d' ' -f1)
    if [ "$got" = "$(cat "${file%.yaml}.sha256")" ]; then pass; else fail "bytes of $file" "sha256 $got"; fi
done
for file in tests/golden/reject-3/*; do
    [ -e "$file" ] || continue
    expect_exit "inspect rejects $file" 3 $weft inspect "$file"
    $weft verify "$file" >/dev/null 2>&1
    code=$?
    if [ $code = 1 ] || [ $code = 3 ]; then pass; else fail "verify rejects $file" "exit $code"; fi
done
for file in tests/golden/recipes/reject-2/*; do
    [ -f "$file" ] || continue
    expect_exit "plan refuses $file" 2 $weft plan "$file"
    expect_exit "merge refuses $file" 2 $weft merge "$file" "$SCRATCH/out"
    if [ -e "$SCRATCH/out" ] || [ -e "$SCRATCH/out.partial" ]; then
        fail "$file leaves nothing" "OUT or OUT.partial exists"
        rm -rf "$SCRATCH"/out*
    else
        pass
    fi
done
[ $((passed + failed)) -gt 30 ] || fail golden "only $((passed + failed)) cases found"
finish
