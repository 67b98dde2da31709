#!/usr/bin/env bash
# fuzz.sh [SECONDS] - libFuzzer on every target, SECONDS (60) each, starting from the kept corpus.
#
# Finds land in build/corpus; an input worth keeping is copied to tests/fuzz/corpus by hand.
source tests/suite/suite.sh
seconds=${1:-60}

if ! echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { (void)d; return (int)(n & 0); }' |
    clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; then
    skip "fuzz" "clang with libFuzzer is not installed"
    finish
fi
make --no-print-directory -j"$(nproc)" variant-fuzz VARIANT=fuzz CC=clang SAN=fuzzer OPT=-O1 || fail "fuzz" "build failed"
for program in build/fuzz/fuzz/fuzz_*; do
    [ -x "$program" ] || continue
    name=${program##*/fuzz_}
    mkdir -p "build/corpus/$name"
    if "$program" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=65536 -verbosity=0 \
        -artifact_prefix="build/corpus/$name-" "build/corpus/$name" "tests/fuzz/corpus/$name" \
        >"build/corpus/$name.log" 2>&1 </dev/null; then
        pass
        echo "ok    $name"
    else
        fail "$name" "$(grep -m 1 -E 'ERROR|SUMMARY' "build/corpus/$name.log") (build/corpus/$name.log)"
    fi
done
[ $((passed + failed)) -gt 0 ] || fail "fuzz" "no targets found"
finish
