#!/usr/bin/env bash
# races.sh - merges, resumes and signals under the thread sanitizer.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/tsan/weft build/plain/mkckpt
weft=build/tsan/weft
export TSAN_OPTIONS=exitcode=66:halt_on_error=0

for i in 1 2; do
    build/plain/mkckpt --out "$SCRATCH/m$i" --bytes 40MB --shard-size 10MB --seed $i --base-seed 1 --delta 0.2 --config
    build/plain/mkckpt --out "$SCRATCH/many$i" --tensors 400 --seed $i --base-seed 1 --delta 0.2 --config
done
for model in m many; do
    recipe "$SCRATCH/$model.yaml" task_arithmetic keep "$SCRATCH/${model}1" "$SCRATCH/${model}2"
    for flags in "--threads 4 --memory 64Mi --trace $SCRATCH/trace" "--threads 3 --io buffered --manifest sha256" \
        "--threads 2 --json --io direct"; do
        rm -rf "$SCRATCH/out"
        # shellcheck disable=SC2086
        check "merge of $model with $flags" $weft merge "$SCRATCH/$model.yaml" "$SCRATCH/out" --progress plain $flags
    done
done
check "verify" $weft verify "$SCRATCH/out"
$weft diff "$SCRATCH/m1" "$SCRATCH/m2" --threads 4 >/dev/null 2>"$SCRATCH/err"
code=$?
if [ $code = 1 ]; then pass; else fail "diff" "exit $code: $(head -c 400 "$SCRATCH/err")"; fi

# Statistics of every kind: visited with little memory, held with more; in turn, to save time.
for i in 1 2 3 4; do odd_model "$SCRATCH/odd/$i" $i; done
turn=0
for name in $(stage_names); do
    stage_recipe "$SCRATCH/$name.yaml" "$name" "$SCRATCH/odd/"{1,2,3,4}
    [[ $name == *-compat ]] && compat=mergekit || compat=weft
    for flags in "--threads 4 --memory 2Mi" "--threads 3 --memory 12Mi --io direct --json --trace $SCRATCH/trace"; do
        turn=$((turn + 1))
        [ "$LONG" = 1 ] || [ $((turn % 4 < 2)) = 1 ] || continue # 1, 4, 5, 8, ...
        rm -rf "$SCRATCH/out"
        # shellcheck disable=SC2086
        check "$name with $flags" timeout 100 $weft merge "$SCRATCH/$name.yaml" "$SCRATCH/out" \
            --progress none --compat $compat $flags
    done
done

# Task deltas: many threads hand over pieces, and several files are assembled at once.
for scope in model tensor; do
    stage_recipe "$SCRATCH/deltas.yaml" ties "$SCRATCH/odd/"{1,2,3,4}
    echo "task_deltas: {density: 0.2, scope: $scope, store: add}" >>"$SCRATCH/deltas.yaml"
    rm -rf "$SCRATCH/out"
    check "task deltas, scope $scope" timeout 100 $weft merge "$SCRATCH/deltas.yaml" "$SCRATCH/out" --progress none --threads 4
    rm -rf "$SCRATCH/served"
    check "apply, scope $scope" timeout 100 $weft apply "$SCRATCH/out" "$SCRATCH/out/deltas/2.safetensors" "$SCRATCH/served" \
        --progress none --threads 4 --memory 64Mi
done

# Stopped from outside while all threads are at work.
rm -rf "$SCRATCH/out"
$weft merge "$SCRATCH/m.yaml" "$SCRATCH/out" --threads 4 --memory 64Mi --progress none --trace "$SCRATCH/trace" \
    >/dev/null 2>"$SCRATCH/err" &
sleep 0.4
kill -TERM $!
wait $!
code=$?
if [ $code = 75 ] || [ $code = 0 ]; then pass; else fail "TERM" "exit $code: $(head -c 400 "$SCRATCH/err")"; fi
[ $code = 75 ] && check "resume" $weft merge "$SCRATCH/m.yaml" "$SCRATCH/out" --threads 4 --memory 64Mi --resume
finish
