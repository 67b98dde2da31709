#!/usr/bin/env bash
# same_bytes.sh - the same bytes from any number of threads, memory, way of I/O, compiler, level of optimisation
# and sanitizer. docs/NUMERICS.md makes the promise.
source tests/suite/suite.sh
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
recipe "$SCRATCH/tinylm.yaml" task_arithmetic keep $PWD/$TINYLM/{base,python,english}

merge() { # VARIANT RECIPE FLAGS...
    local variant=$1 name=$2
    shift 2
    rm -rf "$SCRATCH/out"
    build/"$variant"/weft merge "$SCRATCH/$name.yaml" "$SCRATCH/out" --progress none "$@" 2>"$SCRATCH/err" >/dev/null &&
        digest "$SCRATCH/out"
}

compare() { # VARIANT FLAGS...
    local name got
    for name in linear-keep linear-bf16 task-keep task-f16 tinylm; do
        got=$(merge "$1" $name "${@:2}")
        if [ -n "$got" ] && [ "$got" = "${reference[$name]}" ]; then
            pass
        else
            fail "$name with $*" "${got:+other bytes than with --threads 1}$([ -n "$got" ] || head -c 300 "$SCRATCH/err")"
        fi
    done
}

declare -A reference
for name in linear-keep linear-bf16 task-keep task-f16 tinylm; do
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
finish
