#!/usr/bin/env bash
# balance.sh - models that are not there: plans of a 405B Llama and of a mixture of experts of 1.04e12 parameters, from
# headers alone, for 1 to 64 imaginary ranks. Every byte is dealt once, evenly; memory is as promised; planning is quick.
source tests/suite/suite.sh
requires build/plain/weft build/plain/mkckpt
weft=build/plain/weft
memory=64000000000
planning_kib=400000 # of address space: what planning may take, whatever the model

for model in base a b c; do
    build/plain/mkckpt --out "$SCRATCH/llama-405b/$model" --like llama-405b --headers-only --config
    build/plain/mkckpt --out "$SCRATCH/moe-1t/$model" --like moe-1t --headers-only --config
done
on_disk=$(du -sk "$SCRATCH" | cut -f1)
if [ "$on_disk" -lt 300000 ]; then pass; else fail "holes" "models that are holes take $on_disk KiB of disk"; fi

write_recipe() { # ARCHITECTURE METHOD
    echo "merge_method: $2"
    [ "$2" = linear ] || echo "base_model: $1/base"
    echo "models:"
    printf '  - {model: %s/%s, parameters: {weight: 0.5}}\n' "$1" a "$1" b "$1" c
    [ "$2" = linear ] || echo "parameters: {density: 0.2}"
}
number() { # KEY: its value in the first line of standard input that has it
    grep -o "\"$1\":[0-9]*" | head -n 1 | tr -dc 0-9
}
# plan_to FILE FLAGS...: the plan of $name as JSON, without its jobs
plan_to() {
    local file=$1
    shift
    (ulimit -v $planning_kib && timeout 60 $weft plan "$SCRATCH/$name.yaml" --json "$@" 2>"$SCRATCH/err") |
        grep -v '"event":"job"' >"$file"
    [ "${PIPESTATUS[0]}" = 0 ]
}

# From the lines of single ranks: sums, and the largest load as a share of the mean.
add_up() {
    awk -F'[:,]' '/"event":"plan_rank"/ {
        for (i = 1; i < NF; i++) {
            if ($i == "\"blocks\"") blocks += $(i + 1)
            if ($i == "\"bytes_read\"") { read += $(i + 1); load = $(i + 1) }
            if ($i == "\"bytes_written\"") { written += $(i + 1); load += $(i + 1) }
        }
        n++
        if (load > most) most = load
    }
    END { printf "%d %d %.0f %.0f %.0f\n", n, blocks, read, written, 1e6 * most * n / (read + written) }' "$1"
}

check_plan() { # RANKS: of the plan in $SCRATCH/plan
    local n blocks read written share once again used
    read -r n blocks read written share < <(add_up "$SCRATCH/plan")
    once=$(number bytes_read <"$SCRATCH/plan") again=$(number bytes_read_again <"$SCRATCH/plan")
    if [ "$n" = "$1" ] && [ "$written" = "$(number bytes_written <"$SCRATCH/plan")" ]; then
        pass
    else
        fail "$name on $1 ranks" "$n ranks write $written bytes"
    fi
    [ "$1" = 1 ] && all_blocks=$blocks
    if [ "$blocks" = "$all_blocks" ]; then pass; else fail "$name on $1 ranks" "$blocks blocks, not $all_blocks"; fi
    least=$once most=$(((once + again) * 11 / 10))
    [ "$1" = 1 ] && least=$((once + again)) && most=$least
    if [ "$read" -ge "$least" ] && [ "$read" -le "$most" ]; then pass; else fail "$name on $1 ranks" "read $read bytes"; fi
    if [ "$share" -le 1050000 ]; then pass; else fail "$name on $1 ranks" "the largest share is $share e-6 of the mean"; fi
    used=0
    for part in ring tables statistics pinned; do
        used=$((used + $(number $part <"$SCRATCH/plan")))
    done
    if [ $used -le $memory ]; then pass; else fail "$name on $1 ranks" "$used bytes of memory, of $memory"; fi
}

# With tensor scope a tensor is read whole by each rank that makes some of it; for numbers of ranks that go badly with
# the numbers of layers and shards that costs more than a twentieth (docs/PERFORMANCE.md).
counts_of() { # ARCHITECTURE METHOD
    if [ "$LONG" = 1 ] && [ "$2" != ties ]; then
        seq 64
    elif [ "$1" = llama-405b ]; then
        echo 1 2 3 4 8 16 21 31 32 42 48 53 $(seq 56 64)
    else
        echo 1 2 3 8 64
    fi
}

for architecture in llama-405b moe-1t; do
    for method in linear ties pcb; do
        name=$architecture-$method
        write_recipe $architecture $method >"$SCRATCH/$name.yaml"
        for ranks in $(counts_of $architecture $method); do
            if plan_to "$SCRATCH/plan" --ranks "$ranks" --memory $memory --threads 16; then
                check_plan "$ranks"
            else
                fail "$name on $ranks ranks" "$(tail -n 1 "$SCRATCH/err")"
            fi
        done
        # A deal does not depend on the machine: with --diffable nothing else is printed.
        plan_to "$SCRATCH/first" --ranks 64 --diffable --memory $memory --threads 16
        plan_to "$SCRATCH/second" --ranks 64 --diffable --memory 8G --threads 3 --bandwidth 5M
        check "$name: --diffable" cmp "$SCRATCH/first" "$SCRATCH/second"
    done
done

# Too little memory is refused with the number that is enough.
name=moe-1t-pcb
for flags in "--ranks 8" "--ranks 8 --gpus-per-rank 4"; do
    # shellcheck disable=SC2086
    expect_exit "$name $flags in 64 MiB" 4 $weft plan "$SCRATCH/$name.yaml" --memory 64Mi --threads 4 $flags
    least=$(grep -o 'at least [0-9]*' "$SCRATCH/stderr" | tr -dc 0-9)
    # shellcheck disable=SC2086
    if plan_to "$SCRATCH/plan" --memory "${least:-1}" --threads 4 $flags; then
        pass
    else
        fail "$name $flags" "$least bytes are not enough"
    fi
done
finish
