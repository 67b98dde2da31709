# A task's model from the shared one: bit for bit at density 1, and better the denser the delta is.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

ln -s "$ROOT/tests/data/tinylm/base" base
ln -s "$ROOT/tests/data/tinylm/python" python
ln -s "$ROOT/tests/data/tinylm/english" english
merge() { # OUT TASK_DELTAS
    cat >recipe.yaml <<END
merge_method: task_arithmetic
base_model: base
models:
  - {model: python, parameters: {weight: 0.4}}
  - {model: english, parameters: {weight: 0.4}}
task_deltas: $2
END
    run merge recipe.yaml "$1"
    expect_exit 0
}

merge whole '{density: 1}'
for task in python english; do
    run apply whole whole/deltas/$task.safetensors $task-again
    expect_exit 0
    expect_stderr_has "weft: applied"
    run diff $task-again $task
    expect_exit 0
    run verify $task-again
    expect_exit 0
    expect_same_file $task-again/config.json whole/config.json
done
expect_absent python-again/deltas

# The recipe that OUT holds does the same.
run merge python-again/weft_recipe.yaml once-more
expect_exit 0
[[ $(weights_of once-more) == $(weights_of python-again) ]] || fail 'the written recipe gives other bytes'

# Any budget, any cut into shards, and one file as SHARED.
run apply whole whole/deltas/python.safetensors small --memory 24Mi --threads 3 --shard-size 300KB
expect_exit 0
run diff small python
expect_exit 0
run apply whole/model.safetensors whole/deltas/python.safetensors single
expect_exit 0
[[ $(weights_of single) == $(weights_of python-again) ]] || fail 'other bytes with a single file'
run apply whole whole/deltas/python.safetensors small
expect_usage_error 'small exists'
run apply whole whole/deltas/python.safetensors single --resume
expect_usage_error 'differs'
run apply whole whole/deltas/python.safetensors single --overwrite --json
expect_exit 0
expect_json_lines stdout

# Nearer the task with every step, under either store.
distance() { # MODEL
    "$WEFT" diff "$1" python | sed -n 's/.*relative L2 \([0-9.e+-]*\);.*/\1/p'
}
for store in replace add; do
    last=$(distance whole)
    for density in 0.01 0.1 0.5; do
        merge part "{density: $density, store: $store}"
        run apply part part/deltas/python.safetensors served
        expect_exit 0
        now=$(distance served)
        awk -v a="$now" -v b="$last" 'BEGIN { exit !(a < b) }' || fail "$store, density $density: $now is not below $last"
        last=$now
        rm -rf part served
    done
done

# A delta in a recipe, as any adapter.
printf 'merge_method: linear\nmodels:\n- {model: whole+whole/deltas/python.safetensors, parameters: {weight: 1}}\n' >plus.yaml
run merge plus.yaml plus
expect_exit 0
run diff plus python
expect_exit 0
