#!/usr/bin/env bash
# run.sh [-jN] [-k] WEFT_BINARY [CASE...] - runs the command line cases.
#
# Each case is a bash script in tests/cli/cases; it gets $WEFT, $ROOT and a fresh scratch folder as
# working directory, and exits 0 (passed), 77 (skipped, reason printed) or anything else (failed).
# CASE names a case without folder and ending. -k keeps the scratch folders and says where they are.
set -u

jobs=1
keep=
while [[ ${1-} == -* ]]; do
    case $1 in
    -j*) jobs=${1#-j} ;;
    -k) keep=1 ;;
    *)
        echo "usage: run.sh [-jN] [-k] WEFT_BINARY [CASE...]" >&2
        exit 2
        ;;
    esac
    shift
done
if [[ $# -lt 1 || ! -x $1 || ! $jobs =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: run.sh [-jN] [-k] WEFT_BINARY [CASE...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
WEFT=$(realpath "$1")
ROOT=$(realpath "$here/../..")
export WEFT ROOT
shift

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-cli.XXXXXX") || exit 2
clean_up()
{
    if [[ $keep ]]; then
        echo "scratch folders: $scratch"
    else
        chmod -R u+rwX "$scratch"
        rm -rf "$scratch"
    fi
}
trap clean_up EXIT

names=("$@")
if [[ ${#names[@]} -eq 0 ]]; then
    for script in "$here"/cases/*.sh; do
        names+=("$(basename "$script" .sh)")
    done
fi

# What a failed case said, within reason.
show_log()
{
    head -n 40 "$scratch/$1.log"
    local more=$(($(wc -l <"$scratch/$1.log") - 40))
    [[ $more -le 0 ]] || echo "  ... and $more lines more (run.sh -k keeps them)"
}

# The outcome of a case is left in NAME.status and NAME.log.
run_case()
{
    local name=$1
    mkdir "$scratch/$name"
    (cd "$scratch/$name" && timeout -k 5 120 bash "$here/cases/$name.sh") \
        >"$scratch/$name.log" 2>&1 </dev/null
    echo $? >"$scratch/$name.status"
}

running=0
for name in "${names[@]}"; do
    if [[ $running -ge $jobs ]]; then
        wait -n
        running=$((running - 1))
    fi
    run_case "$name" &
    running=$((running + 1))
done
wait

passed=0 failed=0 skipped=0
for name in "${names[@]}"; do
    case $(cat "$scratch/$name.status" 2>/dev/null) in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        echo "skip $name: $(sed -n 's/^skipped: //p' "$scratch/$name.log" | tail -1)"
        ;;
    124 | 137)
        failed=$((failed + 1))
        echo "FAIL $name: ran past its time limit"
        show_log "$name"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL $name"
        show_log "$name"
        ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
