#!/usr/bin/env bash
# unit.sh VARIANT - runs every unit test program of a build and adds up their TAP results.
source tests/suite/suite.sh
variant=$1
export ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
export TMPDIR=$SCRATCH

for source in tests/unit/test_*.c tests/method/test_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    program=build/$variant/unit/$name
    if [ ! -x "$program" ]; then
        fail "$name" "was not built"
        continue
    fi
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 900 "$program" >"$SCRATCH/tap" 2>"$SCRATCH/err" </dev/null
    code=$?
    good=$(grep -c '^ok ' "$SCRATCH/tap")
    skips=$(grep -ci '^ok .*# skip' "$SCRATCH/tap")
    bad=$(grep -c '^not ok ' "$SCRATCH/tap")
    passed=$((passed + good - skips))
    while read -r line; do skip "$name ($variant)" "$line"; done < <(grep -i '^ok .*# skip' "$SCRATCH/tap")
    while read -r line; do fail "$name ($variant)" "$line"; done < <(grep '^not ok ' "$SCRATCH/tap")
    if [ $code = 77 ]; then
        skip "$name ($variant)" "$(tail -n 1 "$SCRATCH/err")"
    elif [ "$bad" = 0 ] && { [ $code != 0 ] || [ "$good" = 0 ]; }; then
        fail "$name ($variant)" "exit $code: $(grep -m 3 -E 'ERROR|error|SUMMARY' "$SCRATCH/err" | tr '\n' ' ')"
    fi
    [ "$bad" = 0 ] || grep -vE '^(ok|1\.\.|#)' "$SCRATCH/tap" "$SCRATCH/err" | cut -d: -f2- | head -n 20
done
[ $((passed + failed)) -gt 0 ] || fail unit "no unit tests found"
finish
