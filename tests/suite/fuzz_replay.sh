#!/usr/bin/env bash
# fuzz_replay.sh - every fuzz target over its kept corpus, with address and undefined-behaviour sanitizers.
source tests/suite/suite.sh
export ASAN_OPTIONS=exitcode=99:detect_leaks=1:allocator_may_return_null=1

for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    corpus=tests/fuzz/corpus/${name#fuzz_}
    program=build/asan/replay/$name
    if [ ! -x "$program" ]; then
        fail "$name" "was not built"
    elif ! files=$(find "$corpus" -type f 2>/dev/null | sort) || [ -z "$files" ]; then
        fail "$name" "no corpus in $corpus"
    elif mapfile -t list <<<"$files" && timeout 300 "$program" "${list[@]}" >/dev/null 2>"$SCRATCH/err"; then
        passed=$((passed + ${#list[@]}))
    else
        file=$(grep '^replay ' "$SCRATCH/err" | tail -n 1)
        fail "$name" "$file: $(grep -m 1 -E 'ERROR|runtime error|assert|SUMMARY' "$SCRATCH/err")"
    fi
done
[ $((passed + failed)) -gt 0 ] || fail fuzz "no targets found"
finish
