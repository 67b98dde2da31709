#!/usr/bin/env bash
# gpu.sh [--size SIZE] [--rounds N] [--methods "NAME ..."] - merges on GPUs, end to end, from files in memory.
#
# Models of SIZE (8GB) in /dev/shm (four of them must fit, or TMPFS=folder). What a merge cannot beat is the longest of
#
#   in     bytes of the inputs at the rate at which pinned memory is copied to a GPU (`weft doctor`)
#   out    bytes of the result at the rate of the other direction
#   null   the same files read and written by weft without arithmetic
#
# A row is the median of the rounds, and how much of that limit it reaches. cpu: the same merge on the CPU.
set -eu
cd "$(dirname "$0")/.."
size=${SIZE:-8GB} rounds=${ROUNDS:-3} methods='linear slerp dare_ties ties'
while [ $# -gt 0 ]; do
    case $1 in
    --size) size=$2 ;;
    --rounds) rounds=$2 ;;
    --methods) methods=$2 ;;
    *) sed -n '2s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
weft=build/plain/weft
dir=$(mktemp -d "${TMPFS:-/dev/shm}/weft-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export LC_ALL=C

$weft doctor "$dir" >"$dir/doctor"
rate() { sed -n "s/.* GPU [0-9]* $1  *\([0-9.]*\) GB\/s.*/\1/p" "$dir/doctor" | awk '{ n += $1 } END { print n + 0 }'; }
in=$(rate 'copy in') out=$(rate 'copy out')
if [ "$in" = 0 ]; then
    echo "no GPU: $(grep -o 'none used: .*' "$dir/doctor")" >&2
    exit 1
fi
grep -E ' GPU [0-9]+ ' "$dir/doctor"

for i in 0 1 2; do
    if [ $i = 0 ]; then seed=(--seed 1); else seed=(--seed $((i + 1)) --base-seed 1 --delta 0.1); fi
    build/plain/mkckpt --out "$dir/m$i" --config --bytes "$size" "${seed[@]}"
done
recipe() { # METHOD
    local models='m1 m2' weight='weight: 0.4' model
    [ "$1" != slerp ] || { models=m1; weight=''; }
    printf 'merge_method: %s\n' "$1"
    if [ "$1" = linear ]; then models='m0 m1 m2'; else printf 'base_model: m0\n'; fi
    case $1 in
    slerp) printf 'parameters: {t: 0.4}\n' ;;
    dare_ties) printf 'parameters: {density: 0.5}\n' ;;
    ties) printf 'parameters: {density: 0.2}\n' ;;
    esac
    printf 'models:\n'
    for model in $models; do printf '  - {model: %s, parameters: {%s}}\n' "$model" "$weight"; done
}
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
field() { sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' "$dir/events" | tail -n 1; }
seconds() { # METHOD FLAGS...: median; the events of the last round stay
    local i method=$1
    shift
    for ((i = 0; i < rounds; i++)); do
        rm -rf "$dir/out"
        $weft merge "$dir/$method.yaml" "$dir/out" --progress none --manifest none --json "$@" >"$dir/events"
        field seconds
    done | median
}

printf '%-12s %8s %8s %8s %8s %8s %8s %7s\n' method 'GPU s' 'CPU s' 'in s' 'out s' 'null s' 'GB/s' limit
for method in $methods; do
    recipe "$method" >"$dir/$method.yaml"
    null=$(seconds "$method" --backend cpu --null-compute 2>/dev/null)
    cpu=$(seconds "$method" --backend cpu)
    gpu=$(seconds "$method" --backend cuda)
    awk -v m="$method" -v g="$gpu" -v c="$cpu" -v n="$null" -v r="$(field bytes_read)" -v w="$(field bytes_written)" \
        -v in_rate="$in" -v out_rate="$out" 'BEGIN {
            i = r / in_rate / 1e9; o = w / out_rate / 1e9; limit = i > o ? i : o; limit = limit > n ? limit : n
            printf "%-12s %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %6.0f%%\n", m, g, c, i, o, n, (r + w) / g / 1e9, 100 * limit / g
        }'
done
