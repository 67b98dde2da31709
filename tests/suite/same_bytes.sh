#!/usr/bin/env bash
# same_bytes.sh - the same bytes from any number of threads, memory, way of I/O, compiler, level of optimisation
# and sanitizer. docs/NUMERICS.md makes the promise.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/plain/weft build/plain/mkckpt

# All types at once, odd sizes, and one tensor of several tiles at the smallest budget.
shape=(--layers 2 --hidden 200 --vocab 33333 --dtype bf16,f16,f32,f64)
for i in 1 2 3; do
    build/plain/mkckpt --out "$SCRATCH/m$i" "${shape[@]}" --seed $i --base-seed 1 --delta 0.2 --config
done
models=("$SCRATCH/m1" "$SCRATCH/m2" "$SCRATCH/m3")
recipe "$SCRATCH/linear-keep.yaml" linear keep "${models[@]}"
recipe "$SCRATCH/linear-bf16.yaml" linear bfloat16 "${models[@]}"
recipe "$SCRATCH/task-keep.yaml" task_arithmetic keep "${models[@]}"
recipe "$SCRATCH/task-f16.yaml" task_arithmetic float16 "${models[@]}"
for scope in model tensor; do
    recipe "$SCRATCH/deltas-$scope.yaml" task_arithmetic keep "${models[@]}"
    echo "task_deltas: {density: 0.13, scope: $scope}" >>"$SCRATCH/deltas-$scope.yaml"
done
recipe "$SCRATCH/tinylm.yaml" task_arithmetic keep $PWD/$TINYLM/{base,python,english}

merge() { # VARIANT RECIPE FLAGS...
    local variant=$1 name=$2
    shift 2
    rm -rf "$SCRATCH/out"
    timeout 100 build/"$variant"/weft merge "$SCRATCH/$name.yaml" "$SCRATCH/out" --progress none "$@" \
        2>"$SCRATCH/err" >/dev/null &&
        digest "$SCRATCH/out"
}

names='linear-keep linear-bf16 task-keep task-f16 deltas-model deltas-tensor tinylm'

compare() { # VARIANT FLAGS...
    local name got
    for name in $names; do
        got=$(merge "$1" $name "${@:2}")
        if [ -n "$got" ] && [ "$got" = "${reference[$name]}" ]; then
            pass
        else
            fail "$name with $*" "${got:+other bytes than with --threads 1}$([ -n "$got" ] || head -c 300 "$SCRATCH/err")"
        fi
    done
}

declare -A reference
for name in $names; do
    reference[$name]=$(merge plain $name --threads 1)
    [ -n "${reference[$name]}" ] || fail "$name" "$(head -c 300 "$SCRATCH/err")"
done
for threads in 2 7; do compare plain --threads $threads; done
for memory in 64Mi 1Gi; do compare plain --threads 2 --memory $memory; done
for io in buffered direct; do compare plain --io $io; done
for isa in base v3 v4; do
    WEFT_ISA=$isa compare plain --threads 2
done
for variant in clang O0 asan; do
    if [ -x build/$variant/weft ]; then
        compare $variant --threads 2 --memory 64Mi
    elif [ $variant = clang ] && ! command -v clang >/dev/null; then
        skip "same bytes from clang" "clang is not installed"
    else
        fail "same bytes from $variant" "was not built"
    fi
done

# Weight 1 gives back a model's bytes.
printf 'merge_method: linear\nmodels:\n  - model: %s\n    parameters: {weight: 1}\n' "$SCRATCH/m2" >"$SCRATCH/one.yaml"
for variant in plain O0; do
    merge $variant one --shard-size 100GB >/dev/null
    if cmp -s <(tail -c 1000000 "$SCRATCH/m2/model.safetensors") <(tail -c 1000000 "$SCRATCH/out/model.safetensors") &&
        build/plain/weft diff "$SCRATCH/m2" "$SCRATCH/out" >/dev/null; then
        pass
    else
        fail "one model with weight 1 ($variant)" "other bytes"
    fi
done
# ---- statistics: every stage and scope; inside a span, held, visited ----

# bf16: a usual model, whose differences are a coarse lattice. odd: all types and shapes that are hard.
for i in 1 2 3 4; do
    build/plain/mkckpt --out "$SCRATCH/bf16-$i" --layers 2 --hidden 256 --vocab 9001 --seed $i --base-seed 1 --delta 0.2
    odd_model "$SCRATCH/odd-$i" $i
    odd_model "$SCRATCH/narrow-$i" $i "F32 F16 BF16" # without double, keys have 32 bits
done

# staged VARIANT NAME FLAGS...: with too little memory, with exactly as much as the refusal says.
staged() {
    local variant=$1 name=$2 compat=weft least
    shift 2
    [[ $name != *-compat ]] || compat=mergekit
    least=$(merge "$variant" "$name" --compat $compat "$@") && [ -n "$least" ] && { echo "$least"; return; }
    least=$(grep -o 'at least [0-9]* bytes' "$SCRATCH/err" | tr -dc 0-9)
    [ -z "$least" ] || merge "$variant" "$name" --compat $compat "$@" --memory "$least"
}

same_as() { # DIGEST VARIANT NAME FLAGS...
    local wanted=$1 got
    shift
    got=$(staged "$@")
    if [ -n "$got" ] && [ "$got" = "$wanted" ]; then
        pass
    else
        fail "${ISA:+$ISA }$*" "${got:+other bytes than with --threads 1}$([ -n "$got" ] || head -c 300 "$SCRATCH/err")"
    fi
}

for name in $(stage_names); do
    for set in odd bf16 narrow; do
        [ $set != narrow ] || [[ $name == *-model* ]] || [ "$LONG" = 1 ] || continue # elsewhere tensors are alone
        stage_recipe "$SCRATCH/$name.yaml" "$name" "$SCRATCH/$set-"{1,2,3,4}
        wanted=$(staged plain "$name" --threads 1)
        [ -n "$wanted" ] || { fail "$name of $set" "$(head -c 300 "$SCRATCH/err")"; continue; }
        same_as "$wanted" plain "$name" --memory 1 --threads 3
        same_as "$wanted" plain "$name" --memory 4Mi --threads 2 --io direct
        [ "$set" != narrow ] || [ "$LONG" = 1 ] || continue
        same_as "$wanted" plain "$name" --memory 2Mi --threads 5
        same_as "$wanted" plain "$name" --memory 12Mi --threads 4 --io buffered
        [ "$set" = odd ] || [ "$LONG" = 1 ] || continue
        same_as "$wanted" plain "$name" --memory 64Mi --threads 3 --io direct
        for isa in base v3; do
            WEFT_ISA=$isa ISA=$isa same_as "$wanted" plain "$name" --memory 8Mi --threads 2
        done
        for variant in clang O0 asan; do
            [ ! -x build/$variant/weft ] || same_as "$wanted" $variant "$name" --memory 4Mi --threads 2
        done
        wanted=$(staged plain "$name" --threads 1 --shard-size 500kB)
        same_as "$wanted" plain "$name" --threads 4 --shard-size 500kB --memory 3Mi
    done
done
finish
