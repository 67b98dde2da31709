#!/usr/bin/env bash
# recipes.sh - every recipe of configs/ runs, verifies, and gives the same bytes again; and a merge of language
# models is a good one, in bits per byte of text.
source tests/suite/suite.sh
requires build/plain/weft build/weft
weft=build/plain/weft

for config in configs/*.yaml; do
    [ -e "$config" ] || { fail configs "no recipes"; break; }
    name=$(basename "$config" .yaml)
    check "plan $config" $weft plan "$config"
    check "merge $config" $weft merge "$config" "$SCRATCH/$name" --progress none
    check "verify $config" $weft verify "$SCRATCH/$name"
    check "again $config" $weft merge "$config" "$SCRATCH/again" --progress none --threads 1
    if [ "$(digest "$SCRATCH/$name")" = "$(digest "$SCRATCH/again")" ]; then pass; else fail "$config" "other bytes"; fi
    rm -rf "$SCRATCH/again"
    for file in config.json README.md weft_manifest.json; do
        if [ -s "$SCRATCH/$name/$file" ]; then pass; else fail "$config" "no $file"; fi
    done
done

check "mk/demo.sh" mk/demo.sh

python=$(python_with numpy)
if [ -z "$python" ]; then
    skip "bits per byte" "no python3 with numpy"
    finish
fi
# Lower is better; a good merge of the three experts is better than the base over all three kinds of text.
score() { "$python" $TINYLM/eval.py "$1" --json | sed 's/.*"mean": \([0-9.]*\).*/\1/'; }
base=$(score $TINYLM/base)
for name in linear task-arithmetic; do
    got=$(score "$SCRATCH/$name")
    if awk -v a="${got:-9}" -v b="$base" 'BEGIN { exit !(a < b) }'; then
        pass
    else
        fail "configs/$name.yaml" "mean $got bits per byte, base $base"
    fi
done

# Layers that add nothing change nothing.
english=$(score $TINYLM/english) got=$(score "$SCRATCH/layer-repeat")
if [ "$got" = "$english" ]; then pass; else fail configs/layer-repeat.yaml "mean $got bits per byte, the model $english"; fi

# A task's delta makes up for what the merge took from it; all of it gives back the expert.
shared=$SCRATCH/task-deltas
for task in python english c; do
    check "apply $task" $weft apply "$shared" "$shared/deltas/$task.safetensors" "$SCRATCH/served" --progress none
    of_task() { "$python" $TINYLM/eval.py "$1" --json | sed "s/.*\"$task\": \([0-9.]*\).*/\1/"; }
    got=$(of_task "$SCRATCH/served") merged=$(of_task "$shared")
    if awk -v a="${got:-9}" -v b="$merged" 'BEGIN { exit !(a < b) }'; then
        pass
    else
        fail "the delta of $task" "$got bits per byte, $merged without it"
    fi
    rm -rf "$SCRATCH/served"
done
finish
