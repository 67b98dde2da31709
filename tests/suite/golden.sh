#!/usr/bin/env bash
# golden.sh - files that weft must accept, merges that must give known bytes, and files and recipes it must reject with a
# stated exit code.
#
#   tests/golden/accept/        inspect, verify: 0
#   tests/golden/equal/         merge NAME.yaml: weights with the checksum in NAME.sha256
#   tests/golden/mergekit/      merge NAME.yaml: what mergekit made of it, NAME.f32, as near as the recipe's first line says
#   tests/golden/reject-3/      inspect: 3, verify: 1 or 3
#   tests/golden/recipes/reject-2/   plan: 2, merge: 2 and nothing written
source tests/suite/suite.sh
requires build/plain/weft
weft=build/plain/weft

# near WITHIN SUMMARY: the summary line of `weft diff --json` has the same tensors, none further apart than WITHIN.
near() {
    awk -v within="$1" -v line="$2" 'BEGIN {
        exit !(line ~ /"only_in_a":0,"only_in_b":0/ && match(line, /"max_abs":[0-9.e+-]+/) &&
               substr(line, RSTART + 10, RLENGTH - 10) + 0 <= within + 0)
    }'
}

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
# mergekit's results, kept by tests/interop/mergekit_golden.py: the first line of a recipe says how near is near enough.
for file in tests/golden/mergekit/*.yaml; do
    name=${file%.yaml}
    line=$(head -n 1 "$file")
    within=$(sed -n 's/^# within \([^ ]*\) .*/\1/p' <<<"$line")
    cat "tests/golden/mergekit/${line##*; }.header" "$name.f32" >"$SCRATCH/theirs.safetensors"
    for compat in mergekit weft; do
        [ $compat = weft ] && [[ $line != *"with and without"* ]] && continue
        rm -rf "$SCRATCH/ours"
        expect_exit "merge $file ($compat)" 0 $weft merge "$file" "$SCRATCH/ours" --progress none --compat $compat
        diff=$($weft diff "$SCRATCH/ours" "$SCRATCH/theirs.safetensors" --json | tail -n 1)
        if near "$within" "$diff"; then pass; else fail "$file ($compat)" "not within $within of mergekit's: $diff"; fi
    done
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
