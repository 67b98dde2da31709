#!/usr/bin/env bash
# run.sh [--size SIZE] [--rounds N] [--json FILE] [--keep] [--only memory|start|speed|research|ranks] - speed and
# memory of weft on this machine, in one run.
#
# Makes synthetic bf16 checkpoints below build/bench (about six times SIZE, 2GB, of disk) and measures, in
# rounds that take turns so that a slow minute of the disk hits all alike:
#
#   null     read all inputs, write the output, compute nothing: what the machine needs for the bytes
#   METHODS  below, of 3 models (a base and 2, where there is a base), or of 2 (against null2)
#   model    ties at scope model with so little memory that the inputs are read again
#   research pcb of a base and 3 models, with memory for the inputs and without; task deltas of 3 models beside the merge
#   ranks    2 ranks of 1 thread beside 1 process of 2 threads; the journal; --resume of what is complete
#   fio      the same bytes on the same files: 3 files read, 1 written, all at once, direct I/O, synced;
#            the fastest of three block sizes
#
# cold: inputs dropped from the page cache; warm: read before. The output is synced either way, by weft itself.
# Each figure is the median of the rounds; a ratio is the median of the ratios within rounds.
set -eu
cd "$(dirname "$0")/.."
size=${SIZE:-2GB} rounds=${ROUNDS:-5} json='' keep=0 only=''
while [ $# -gt 0 ]; do
    case $1 in
    --size) size=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --json) json=$2; shift ;;
    --keep) keep=1 ;;
    --only) only=$2; shift ;;
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
recipe() { # FILE METHOD PARAMETERS MODEL...; of methods with a base the first is the base
    local file=$1 method=$2 parameters=$3 base=$4 model
    shift 3
    {
        echo "merge_method: $method"
        [ "$method" = linear ] || { echo "base_model: $base"; shift; }
        [ -z "$parameters" ] || echo "parameters: {$parameters}"
        echo "models:"
        for model in "$@"; do
            printf '  - model: %s\n' "$model"
            case $method in slerp | model_stock | sce | pcb) ;; *) printf '    parameters: {weight: 0.4}\n' ;; esac
        done
    } >$dir/"$file"
}
# Name, most it may take of the null method's time cold and warm (- for none), method, parameters.
METHODS='
linear       1.1   1.3  linear
task         1.1   1.3  task_arithmetic
slerp        1.15  1.6  slerp            t: 0.4
dare         1.15  1.6  dare_ties        density: 0.5
stock        1.15  -    model_stock
ties         1.25  2.2  ties             density: 0.2
breadcrumbs  1.25  -    breadcrumbs      density: 0.9, gamma: 0.01
sce          1.25  -    sce              select_topk: 0.5
della        2     -    della            density: 0.5, epsilon: 0.1
'
methods() { grep -v '^$' <<<"$METHODS"; }
null_of() { [ "$1" = slerp ] && echo null2 || echo null; } # NAME: what it is compared with
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
    recipe big.yaml linear "" big big
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
    recipe many.yaml linear "" many1 many2
    model plan1 --tensors 100000 --bytes 20GB --headers-only
    model plan2 --tensors 100000 --bytes 20GB --headers-only
    recipe plan.yaml linear "" plan1 plan2
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
    $tools/measure $dir/$log.log $weft merge $dir/$recipe.yaml $dir/out --progress none --json "$@" >$dir/events
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
write_recipes() {
    methods | while read -r name _ _ method parameters; do
        if [ "$name" = slerp ]; then
            recipe "$name.yaml" "$method" "$parameters" m0 m1
        else
            recipe "$name.yaml" "$method" "$parameters" m0 m1 m2
        fi
    done
    recipe model.yaml ties "density: 0.2, scope: model" m0 m1 m2
}
# The methods' names; those who follow the null method change places from round to round.
names_in_turn() { if (($1 % 2)); then methods | awk '{ print $1 }'; else methods | awk '{ print $1 }' | tac; fi; }
check_speed() {
    local i name cache
    say "speed: 3 models of $size, $rounds rounds"
    model m0 --bytes "$size" --seed 1
    model m1 --bytes "$size" --seed 2 --base-seed 1 --delta 0.1
    model m2 --bytes "$size" --seed 3 --base-seed 1 --delta 0.1
    write_recipes
    input=$(bytes_of $dir/m?) output=$(bytes_of $dir/m0)
    for ((i = 1; i <= rounds; i++)); do
        say "round $i"
        for cache in cold warm; do
            run_weft null-$cache linear --null-compute
            run_weft null2-$cache slerp --null-compute
            for name in $(names_in_turn $i); do run_weft $name-$cache $name; done
        done
        run_weft model-cold model --memory 512MiB
        event $dir/events bytes_read | awk -v i="$input" '{ print 0, $1 / i }' >>$dir/passes.log
        command -v fio >/dev/null && run_fio
    done
    for cache in cold warm; do
        for name in null null2 $(names_in_turn 1); do speed_row $name-$cache; done
    done
    speed_row model-cold
    [ ! -e $dir/fio.log ] || speed_row fio
    report_ratios
}
report_ratios() {
    local name cold warm null
    while read -r name cold warm _; do
        null=$(null_of "$name")
        row "$name / $null, cold" "$(number "$(ratio $name-cold $null-cold)" 3)" x "<= $cold"
        [ "$warm" = - ] || row "$name / $null, warm" "$(number "$(ratio $name-warm $null-warm)" 3)" x "<= $warm"
    done < <(methods)
    row "ties, scope model, read again: passes" "$(number "$(column passes 2)" 2)" "" ""
    row "the same / null, cold, per pass" \
        "$(paste $dir/model-cold.log $dir/null-cold.log $dir/passes.log | awk '{ print $2 / $6 / $10 }' | median)" x "<= 1.2"
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

# ---- pcb and task deltas ----

# Bytes read as a multiple of the inputs': 1 is one pass.
note_passes() { event $dir/events bytes_read | awk -v i="$input" '{ print 0, $1 / i }' >>$dir/"$1"-passes.log; } # LOG
recipes_with_deltas() { # SCOPE...
    local scope
    for scope in "$@"; do
        { cat $dir/plain.yaml; echo "task_deltas: {density: 0.1, scope: $scope}"; } >$dir/deltas-"$scope".yaml
    done
}
research_rows() {
    local held
    for name in null4 pcb-again pcb-held plain tensor held again; do speed_row $name-cold; done
    row "pcb, read again: passes" "$(number "$(column pcb-again-passes 2)" 2)" "" ""
    row "the same / null, cold, per pass" \
        "$(paste $dir/pcb-again-cold.log $dir/null4-cold.log $dir/pcb-again-passes.log |
            awk '{ print $2 / $6 / $10 }' | median)" x "<= 1.3"
    row "pcb, inputs in memory / null, cold" "$(number "$(ratio pcb-held-cold null4-cold)" 3)" x "<= 2"
    for held in tensor held; do
        row "task deltas, $held / without, cold" "$(number "$(ratio $held-cold plain-cold)" 3)" x "<= 1.6"
    done
    row "task deltas, scope model, read again: extra passes" \
        "$(awk '{ print $2 - 1 }' $dir/again-passes.log | median)" "" ""
    row "time of each of these / null, cold" \
        "$(paste $dir/again-cold.log $dir/plain-cold.log $dir/null4-cold.log $dir/again-passes.log |
            awk '{ print ($2 - $6) / $10 / ($14 - 1) }' | median)" x "<= 1.3"
}
check_research() {
    local i
    say "research: a base and 3 models of $size, $rounds rounds"
    model m0 --bytes "$size" --seed 1
    for i in 1 2 3; do model m$i --bytes "$size" --seed $((i + 1)) --base-seed 1 --delta 0.1; done
    recipe null4.yaml task_arithmetic "" m0 m1 m2 m3
    recipe plain.yaml task_arithmetic "" m0 m1 m2 m3
    recipe pcb.yaml pcb "density: 0.2" m0 m1 m2 m3
    recipes_with_deltas tensor model
    input=$(bytes_of $dir/m?) output=$(bytes_of $dir/m0)
    for ((i = 1; i <= rounds; i++)); do
        say "round $i"
        run_weft null4-cold null4 --null-compute
        run_weft pcb-again-cold pcb --memory 512MiB
        note_passes pcb-again
        run_weft pcb-held-cold pcb --memory 14GiB
        run_weft plain-cold plain
        run_weft tensor-cold deltas-tensor
        run_weft held-cold deltas-model --memory 14GiB
        run_weft again-cold deltas-model --memory 512MiB
        note_passes again
    done
    research_rows
}

# ---- ranks ----

# Two ranks as mpirun would start them, so that no launcher's time is in it. Both have to end well.
two_ranks() { # RECIPE
    cat >$dir/two-ranks.sh <<'RANKS'
for rank in 0 1; do
    PMI_RANK=$rank PMI_SIZE=2 MPI_LOCALRANKID=$rank MPI_LOCALNRANKS=2 "$@" >/dev/null &
    pids+=($!)
done
wait "${pids[0]}" && wait "${pids[1]}"
RANKS
    rm -rf $dir/out
    sync
    $tools/dropcache $(files $dir/m?)
    $tools/measure $dir/"$1"-ranks.log bash $dir/two-ranks.sh $weft merge $dir/"$1".yaml $dir/out --progress none --threads 1 \
        --log-level warning
}
# The thread that commits blocks is the journal's own, so what it takes is at most what the merge could be late by.
journal_share() { # TRACE LOG: per cent of the wall time in the last line of LOG
    grep '"name":"journal"' "$1" | sed 's/.*"dur":\([0-9]*\).*/\1/' |
        awk -v wall="$(tail -n 1 "$2" | awk '{ print $2 }')" '{ n += $1 } END { print 0, n / 1e4 / wall }'
}
check_ranks() {
    local i name
    say "ranks: 3 models of $size, $rounds rounds"
    for i in 0 1 2; do model m$i --bytes "$size" --seed $((i + 1)) --base-seed 1 --delta 0.1; done
    recipe task.yaml task_arithmetic "" m0 m1 m2
    recipe ties.yaml ties "density: 0.2" m0 m1 m2
    input=$(bytes_of $dir/m?) output=$(bytes_of $dir/m0)
    for ((i = 1; i <= rounds; i++)); do
        say "round $i"
        for name in task ties; do
            run_weft $name-cold $name --threads 2 --trace $dir/trace.json
            journal_share $dir/trace.json $dir/$name-cold.log >>$dir/journal.log
            quiet $tools/measure $dir/again.log $weft merge $dir/$name.yaml $dir/out --progress none --json --resume
            two_ranks $name
        done
    done
    for name in task ties; do
        speed_row $name-cold
        speed_row $name-ranks
        row "$name: 2 ranks of 1 thread / 1 process of 2" "$(number "$(ratio $name-ranks $name-cold)" 3)" x "<= 1.1"
    done
    row "journal, of a merge's time" "$(number "$(column journal 2)" 2)" % "<= 1"
    row "--resume of a merge that is complete" "$(number "$(column again 2)" 3)" s "<= 1"
}

: >$dir/speed
for part in memory start speed research ranks; do
    [ -n "$only" ] && [ "$only" != $part ] || check_$part
done

echo "$(nproc) CPUs, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo), $(uname -sr); models of $size," \
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
