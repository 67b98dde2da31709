#!/usr/bin/env bash
# fault.sh - the n-th allocation, open, read, write, sync and rename fails, for n = 1, 2, 3 ... until nothing fails.
#
# With the sanitizer build: no crash, no leak, exit code 2 to 4, one line that says why. A merge leaves its
# inputs as they were and no OUT, and what remains can be resumed, or overwritten, to the bytes of a
# merge without faults. `make test` takes larger steps as n grows; `make test-long` takes every n,
# and on the ways of statistics the steps that `make test` takes elsewhere.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/asan/weft build/plain/mkckpt
weft=$PWD/build/asan/weft lora=$PWD/$TINYLM fake=$PWD/build/plain/libweft_fake.so
export ASAN_OPTIONS=exitcode=99:detect_leaks=1:allocator_may_return_null=1

build/plain/mkckpt --out "$SCRATCH/in/base" --layers 1 --hidden 32 --vocab 64 --dtype bf16,f32 --seed 1 \
    --shard-size 30000 --config
build/plain/mkckpt --out "$SCRATCH/in/tuned" --layers 1 --hidden 32 --vocab 64 --dtype bf16,f32 --seed 2 \
    --base-seed 1 --delta 0.1 --config
recipe "$SCRATCH/in/recipe.yaml" task_arithmetic keep "$SCRATCH/in/base" "$SCRATCH/in/tuned"
{ cat "$SCRATCH/in/recipe.yaml"; echo 'task_deltas: {density: 0.2}'; } >"$SCRATCH/in/deltas.yaml"
printf 'merge_method: pcb\nbase_model: %s\nmodels: [model: %s]\n' "$SCRATCH/in/base" "$SCRATCH/in/tuned" \
    >"$SCRATCH/in/components.yaml"
# Of these stages `first` is computed on the way to `second`, `second` has a folder, and `third` is computed from that.
{ echo 'name: first'; cat "$SCRATCH/in/recipe.yaml"; printf 'chat_template: chatml\n---\nname: second\n'
  printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [model: first, model: %s]\nchat_template: auto\n---\n' \
      "$SCRATCH/in/tuned"
  printf 'name: third\nmerge_method: passthrough\nmodels: [model: second]\n---\n'
  printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [model: second, model: third]\n'
} >"$SCRATCH/in/stages.yaml"
small_models "$SCRATCH/in/small"
while read -r name memory _; do
    [ -z "$name" ] || stage_recipe "$SCRATCH/in/$name-$memory.yaml" "$name" "$SCRATCH/in/small/"{1,2,3,4}
done <<<"$WAYS"
inputs=$(tree_digest "$SCRATCH/in")
cd "$SCRATCH" || exit 1

merge=("$weft" merge in/recipe.yaml out --threads 2 --memory 64Mi --progress none --shard-size 40000)
"${merge[@]}" >/dev/null 2>err || { fail "merge without faults" "$(head -c 300 err)"; finish; }
reference=$(digest out)

# fails_well NAME: judges one run by $code and the files `stdout` and `err`. A file that cannot be read is a damaged
# one to verify, which then answers no, with the reason in its list.
fails_well() {
    if [ "$code" -ge 2 ] && [ "$code" -le 4 ] && one_error_line err; then
        pass
    elif [[ $1 == verify* ]] && [ "$code" = 1 ] && [ ! -s err ] && grep -q FAIL stdout; then
        pass
    else
        fail "$1" "exit $code: $(grep -v '^ *#' err | head -c 400 | tr '\n' ' ')"
    fi
}

# After a merge that failed: is everything as promised, and can it go on?
recovers() { # NAME FLAG
    if [ -e out ] && [ "$(digest out)" != "$reference" ]; then
        fail "$1" "OUT exists and is not the merge"
    elif ! timeout 60 "${merge[@]}" "$2" >/dev/null 2>err; then
        fail "$1" "then $2: $(head -c 300 err)"
    elif [ "$(digest out)" != "$reference" ]; then
        fail "$1" "then $2: other bytes"
    elif [ "$2" = --overwrite ] && [ "$(echo out*)" != out ]; then
        fail "$1" "then $2 leaves $(echo out*)"
    else
        pass
    fi
}

# Every n up to `dense`, then steps of n / growth.
coarse() { dense=4 growth=4; }
fine() { dense=40 growth=20; }
every() { dense=1000000; }
what= # the way through the engine, for messages
step() { # the next n
    if [ "$1" -lt $dense ]; then echo $(($1 + 1)); else echo $(($1 + 1 + $1 / growth)); fi
}

# sweep KIND MODE NAME COMMAND...: until five runs in a row succeed.
sweep() {
    local kind=$1 mode=$2 name=$3 n=1 clean=0 faults=0 flag=--resume
    shift 3
    while [ $clean -lt 5 ] && [ $n -lt 20000 ]; do
        rm -rf out out.partial out.stages
        WEFT_FAULT=$kind:$n$mode timeout 60 "$@" >stdout 2>err </dev/null
        code=$?
        if [ $code = 0 ]; then
            clean=$((clean + 1))
            [ "$name" != merge ] || [ "$(digest out)" = "$reference" ] ||
                fail "merge $kind:$n$mode" "exit 0 with other bytes"
        else
            clean=0 faults=$((faults + 1))
            fails_well "$name${what:+ ($what)} $kind:$n$mode"
            if [ "$name" = merge ]; then
                recovers "merge${what:+ ($what)} $kind:$n$mode" $flag
                [ $flag = --resume ] && flag=--overwrite || flag=--resume
            fi
        fi
        n=$(step $n)
    done
    [ $clean = 5 ] || fail "$name $kind$mode" "never clean up to n = $n"
    [ $faults != 0 ] || [ "$name" != merge ] || fail "$name $kind$mode" "no fault: is this a build with FAULTS=1?"
}

if [ "$LONG" = 1 ]; then every; else fine; fi
for kind in alloc open read write sync rename; do
    sweep $kind "" merge "${merge[@]}"
done
for kind in write sync; do # the disk stays full
    sweep $kind :always merge "${merge[@]}"
done
cp -r out kept

# Statistics: the same promises while a tensor or a model is held or visited. Allocations before the first read are
# those of every merge, so steps are larger.
if [ "$LONG" = 1 ]; then fine; else coarse; fi
plain_merge=("${merge[@]}")
while read -r name memory what; do
    [ -n "$name" ] || continue
    merge=("$weft" merge "in/$name-$memory.yaml" out --threads 3 --memory $memory --progress none --shard-size 400000)
    rm -rf out out.partial
    "${merge[@]}" >/dev/null 2>err || { fail "$what without faults" "$(head -c 300 err)"; continue; }
    reference=$(digest out)
    for kind in alloc read write; do
        sweep $kind "" merge "${merge[@]}"
    done
done <<<"$WAYS"
# Task deltas: a second step, behind the journal's back.
what="task deltas" merge=("$weft" merge in/deltas.yaml out --threads 2 --memory 64Mi --progress none --shard-size 40000)
rm -rf out out.partial
"${merge[@]}" >/dev/null 2>err || fail "$what without faults" "$(head -c 300 err)"
reference=$(digest out)
for kind in alloc open read write sync; do
    sweep $kind "" merge "${merge[@]}"
done
sweep write :always merge "${merge[@]}"
rm -rf served
cp -r out served
# Components: taken from the stream itself.
what="components"
merge=("$weft" merge in/components.yaml out --emit-components --threads 2 --memory 64Mi --progress none)
rm -rf out out.partial
"${merge[@]}" >/dev/null 2>err || fail "$what without faults" "$(head -c 300 err)"
reference=$(digest out)
for kind in alloc open write sync; do
    sweep $kind "" merge "${merge[@]}"
done
# A trace: its file cannot be made, or grows no more; the merge fails only of the first.
what="trace" merge=("${plain_merge[@]}" --trace trace)
rm -rf out out.partial
"${merge[@]}" >/dev/null 2>err || fail "$what without faults" "$(head -c 300 err)"
reference=$(digest out)
for kind in alloc open write; do
    sweep $kind "" merge "${merge[@]}"
done
# Stages: merges behind one another, and what is kept between them.
what="stages"
merge=("$weft" merge in/stages.yaml out --threads 2 --memory 64Mi --progress none)
rm -rf out out.partial
"${merge[@]}" >/dev/null 2>err || fail "$what without faults" "$(head -c 300 err)"
reference=$(digest out)
for kind in alloc open read write sync rename; do
    sweep $kind "" merge "${merge[@]}"
done
if [ "$LONG" = 1 ]; then every; else fine; fi
what= merge=("${plain_merge[@]}")

for kind in alloc open read; do
    sweep $kind "" plan "$weft" plan in/recipe.yaml
    sweep $kind "" inspect "$weft" inspect in/base
    sweep $kind "" verify "$weft" verify kept
    sweep $kind "" diff "$weft" diff in/base in/base
    sweep $kind "" apply "$weft" apply served served/deltas/tuned.safetensors out --threads 2 --progress none
    sweep $kind "" "verify of a delta" "$weft" verify served
    sweep $kind "" methods "$weft" methods linear
done
# Adapters, which are published without a journal: nothing remains of a run that failed.
leaves_nothing() { [ ! -e out ] && [ ! -e out.partial ]; }
coarse
compress=("$weft" compress-lora "$lora/c-lora" out --rank 2 --threads 1)
extract=("$weft" extract-lora "$lora/python" out --base "$lora/base" --rank 4 --threads 1 --log-level error)
rm -rf out
if "${compress[@]}" >/dev/null 2>err; then
    for kind in alloc open read write sync rename; do
        sweep $kind "" compress-lora "${compress[@]}"
        sweep $kind "" extract-lora "${extract[@]}"
        rm -rf out
        WEFT_FAULT=$kind:2 "${compress[@]}" >/dev/null 2>err
        if [ $? = 0 ] || leaves_nothing; then pass; else fail "compress-lora $kind:2" "leaves $(echo out*)"; fi
    done
    if [ -e "$fake" ]; then # of the program: the plugin has no faults in it
        export WEFT_CUDA_PLUGIN=$fake
        sweep alloc "" "compress-lora on a device" "${compress[@]}" --backend cuda
        sweep alloc "" "extract-lora on a device" "${extract[@]}" --backend cuda
        unset WEFT_CUDA_PLUGIN
    fi
else
    skip "faults of compress-lora: $(head -c 200 err)"
fi

if [ "$(tree_digest in)" = "$inputs" ]; then pass; else fail "inputs untouched" "a file below the inputs changed"; fi
finish
