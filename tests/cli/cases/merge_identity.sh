# One model with weight 1 gives back its bytes, whatever the method.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

printf 'merge_method: passthrough\nmodels:\n  - model: %s\n' "$TINYLM/english" >passthrough.yaml
printf 'merge_method: linear\nmodels:\n  - model: %s\n    parameters:\n      weight: 1\n' \
    "$TINYLM/english" >linear.yaml
printf '{"merge_method": "task_arithmetic", "base_model": "%s", "models": [{"model": "%s",
"parameters": {"weight": 1}}]}' "$TINYLM/base" "$TINYLM/english" >task.json
for recipe in passthrough.yaml linear.yaml task.json; do
    run merge $recipe "out-$recipe"
    expect_exit 0
    run diff "out-$recipe" "$TINYLM/english"
    expect_exit 0
done
