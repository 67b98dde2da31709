#!/usr/bin/env bash
# run.sh [--size SIZE] [--rounds N] [--json FILE] [--keep] - speed and memory of weft on this machine, in one run.
#
# Makes synthetic bf16 checkpoints below build/bench (about six times SIZE, 2GB, of disk) and measures, in
# rounds that take turns so that a slow minute of the disk hits all alike:
#
#   null     read all inputs, write the output, compute nothing: what the machine needs for the bytes
#   linear   of 3 models
#   task     task arithmetic of a base and 2 models
#   fio      the same bytes on the same files: 3 files read, 1 written, all at once, direct I/O, synced;
#            the fastest of three block sizes
#
# cold: inputs dropped from the page cache; warm: read before. The output is synced either way, by weft itself.
# Each figure is the median of the rounds; a ratio is the median of the ratios within rounds.
set -eu
cd "$(dirname "$0")/.."
size=${SIZE:-2GB} rounds=${ROUNDS:-5} json='' keep=0
while [ $# -gt 0 ]; do
    case $1 in
    --size) size=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --json) json=$2; shift ;;
    --keep) keep=1 ;;
    *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift
done

tools=build/plain
weft=$tools/weft
dir=build/bench
mkdir -p $dir
rm -rf $dir/out* $dir/*.log
[ $keep = 1 ] || trap 'rm -rf $dir/*/ $dir/fio*' EXIT
export LC_ALL=C

say() { echo "$*" >&2; }
quiet() { "$@" >/dev/null; }
model() { # NAME MKCKPT-OPTIONS...: unless it is there from an earlier run with the same options
    local name=$1
    shift
    [ "$(cat $dir/$name/options 2>/dev/null)" = "$*" ] && return
    rm -rf "${dir:?}/$name"
    $tools/mkckpt --out $dir/$name --config "$@"
    echo "$*" >$dir/$name/options
}
files() { find "$@" -name '*.safetensors'; }
recipe() { # FILE METHOD MODEL...; of task_arithmetic the first is the base
    local file=$1 method=$2 base=$3 model
    shift 2
    {
        echo "merge_method: $method"
        [ "$method" != task_arithmetic ] || { echo "base_model: $base"; shift; }
        echo "models:"
        for model in "$@"; do printf '  - model: %s\n    parameters: {weight: 0.4}\n' "$model"; done
    } >$dir/"$file"
}
bytes_of() { files "$@" -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f", n }'; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
column() { awk -v c="$2" '{ print $c }' $dir/"$1".log | median; } # LOG COLUMN
ratio() { paste $dir/"$1".log $dir/"$2".log | awk '{ print $2 / $6 }' | median; } # A B: wall of A over wall of B
event() { sed -n 's/.*"'"$2"'":\([0-9]*\).*/\1/p' "$1" | tail -n 1; } # FILE FIELD

# One row of the report; TARGET is "< 1.1" or empty.
: >$dir/report
row() { # FIGURE VALUE UNIT TARGET
    local verdict=''
    if [ -n "$4" ]; then
        verdict=$(awk -v v="$2" -v t="${4#<= }" 'BEGIN { print v <= t ? "yes" : "NO" }')
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$verdict" >>$dir/report
}
number() { awk -v v="$1" -v d="$2" 'BEGIN { printf "%.*f", d, v }'; }

# ---- memory: a 4 GB checkpoint whose largest tensor is over the budget ----

check_memory() {
    say "memory: 4 GB, one tensor over 256 MiB, --memory 256MiB"
    model big --bytes 4GB --largest 300MiB --seed 1
    recipe big.yaml linear big big
    rm -rf $dir/out
    quiet $tools/measure $dir/memory.log $weft merge $dir/big.yaml $dir/out --memory 256MiB --progress none --json
    row "peak memory, --memory 256MiB, 4 GB checkpoint" "$(number "$(column memory 4)" 0)" MiB "<= 320"
    rm -rf $dir/out $dir/big
}

# ---- start: many tensors ----

check_start() {
    say "start: 1,000 tensors merged, 100,000 planned"
    model many1 --tensors 1000 --bytes 64MB --seed 1
    model many2 --tensors 1000 --bytes 64MB --seed 2 --base-seed 1 --delta 0.1
    recipe many.yaml linear many1 many2
    model plan1 --tensors 100000 --bytes 20GB --header-only
    model plan2 --tensors 100000 --bytes 20GB --header-only
    recipe plan.yaml linear plan1 plan2
    local i
    for ((i = 0; i < rounds; i++)); do
        rm -rf $dir/out
        $weft merge $dir/many.yaml $dir/out --progress none --json >$dir/events
        event $dir/events first_read_ns | awk '{ print 0, $1 / 1e6 }' >>$dir/first.log
        quiet $tools/measure $dir/plan.log $weft plan $dir/plan.yaml
    done
    row "start to first byte read, 1,000 tensors" "$(number "$(column first 2)" 1)" ms "<= 50"
    row "weft plan, 100,000 tensors" "$(number "$(column plan 2)" 2)" s "<= 2"
    rm -rf $dir/out $dir/many? $dir/plan?
}

# ---- speed ----

run_weft() { # LOG RECIPE FLAGS...
    local log=$1 recipe=$2
    shift 2
    rm -rf $dir/out
    sync
    case $log in
    *-cold) $tools/dropcache $(files $dir/m?) ;;
    *-warm) $tools/dropcache --warm $(files $dir/m?) ;;
    esac
    quiet $tools/measure $dir/$log.log $weft merge $dir/$recipe.yaml $dir/out --progress none --json "$@"
}
run_fio() {
    local file n=0 jobs=() shape best=''
    for file in $(files $dir/m?); do
        n=$((n + 1))
        jobs+=(--name="read$n" --filename="$file" --rw=read --size="$(stat -c %s "$file")")
    done
    jobs+=(--name=write --filename=$dir/fio-write --rw=write --size="$output" --end_fsync=1 --fallocate=posix)
    for shape in "--bs=4M --iodepth=4" "--bs=1M --iodepth=16" "--bs=16M --iodepth=2"; do
        rm -rf $dir/out $dir/fio-write
        sync
        $tools/dropcache $(files $dir/m?)
        # shellcheck disable=SC2086
        quiet fio --output-format=json --output=$dir/fio.json --direct=1 --ioengine=libaio $shape --thread "${jobs[@]}"
        # The longest job, in ms; they all start together.
        best+=$(grep -o '"job_runtime" : [0-9]*' $dir/fio.json | awk '$3 > m { m = $3 } END { print m / 1000 }')$'\n'
    done
    sort -g <<<"${best%$'\n'}" | head -n 1 | awk '{ print 0, $1, 0, 0 }' >>$dir/fio.log
    rm -f $dir/fio-write
}
check_speed() {
    local i order name cache target
    say "speed: 3 models of $size, $rounds rounds"
    model m0 --bytes "$size" --seed 1
    model m1 --bytes "$size" --seed 2 --base-seed 1 --delta 0.1
    model m2 --bytes "$size" --seed 3 --base-seed 1 --delta 0.1
    recipe linear.yaml linear m0 m1 m2
    recipe task.yaml task_arithmetic m0 m1 m2
    input=$(bytes_of $dir/m?) output=$(bytes_of $dir/m0)
    for ((i = 1; i <= rounds; i++)); do
        say "round $i"
        for cache in cold warm; do
            run_weft null-$cache linear --null-compute
            # Who follows the null method alternates.
            if ((i % 2)); then order="linear task"; else order="task linear"; fi
            for name in $order; do run_weft $name-$cache $name; done
        done
        command -v fio >/dev/null && run_fio
    done
    for cache in cold warm; do
        for name in null linear task; do speed_row $name-$cache; done
    done
    [ ! -e $dir/fio.log ] || speed_row fio
    for cache in cold warm; do
        target=$([ $cache = cold ] && echo 1.1 || echo 1.3)
        for name in linear task; do
            row "$name / null, $cache" "$(number "$(ratio $name-$cache null-$cache)" 3)" x "<= $target"
        done
    done
    if [ -e $dir/fio.log ]; then
        row "null / fio, cold" "$(number "$(ratio null-cold fio)" 3)" x "<= 1.2"
    else
        say "fio is not installed: no comparison with it"
    fi
}
speed_row() { # LOG
    local wall
    wall=$(column "$1" 2)
    awk -v n="$1" -v w="$wall" -v r="$input" -v o="$output" -v cpu="$(column "$1" 3)" -v m="$(column "$1" 4)" 'BEGIN {
        printf "%-14s %8.2f %8.2f %8.2f", n, w, r / w / 1e9, o / w / 1e9
        if (m > 0) printf " %8.2f %9.0f", cpu, m
        print ""
    }' >>$dir/speed
}

: >$dir/speed
check_memory
check_start
check_speed

echo "$(nproc) CPUs, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo), $(uname -sr); 3 models of $size," \
    "$rounds rounds, medians"
printf '\n%-14s %8s %8s %8s %8s %9s\n' "" "wall s" "GB/s in" "GB/s out" "CPU s" "peak MiB"
cat $dir/speed
printf '\n%-48s %10s %-4s %-9s %s\n' figure value "" target met
while IFS=$'\t' read -r figure value unit target verdict; do
    printf '%-48s %10s %-4s %-9s %s\n' "$figure" "$value" "$unit" "$target" "$verdict"
done <$dir/report
if [ -n "$json" ]; then
    awk -F'\t' 'BEGIN { print "{" } { printf "%s  \"%s\": %s", NR > 1 ? ",\n" : "", $1, $2 } END { print "\n}" }' \
        $dir/report >"$json"
fi
