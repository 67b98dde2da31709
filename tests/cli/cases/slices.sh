# Layers stacked and modules merged: names, config, plan, messages.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for i in 0 1; do
    "${WEFT%/*}/mkckpt" --out "m$i" --layers 4 --hidden 16 --vocab 32 --seed "$i" --config >/dev/null || fail 'mkckpt'
done
cat >stack.yaml <<'END'
merge_method: passthrough
slices:
  - sources: [{model: m0, layer_range: [0, 3]}]
  - sources: [{model: m1, layer_range: [1, 4]}]
END
run merge stack.yaml out --progress none
expect_exit 0
grep -q '"num_hidden_layers": 6' out/config.json || fail 'the layer count was not changed'
run inspect out
grep -q 'model.layers: 0-5, 54 tensors' stdout || fail 'not six layers'
run verify out
expect_exit 0
run plan stack.yaml
expect_exit 0
grep -q '57 tensors: 0 merged, 57 copied' stdout || fail 'the plan is another'

# The whole of a model as one slice is the model.
printf 'merge_method: passthrough\nslices:\n- sources: [{model: m1, layer_range: [0, 4]}]\n' >whole.yaml
run merge whole.yaml whole --progress none
expect_exit 0
run diff m1 whole
expect_exit 0

refused() { # SED-EXPRESSION MESSAGE
    sed "$1" stack.yaml >wrong.yaml
    run merge wrong.yaml wrong --progress none
    expect_usage_error "$2"
    expect_absent wrong wrong.partial
}
refused 's/\[1, 4\]/[1, 5]/' "wrong.yaml:4: 'layer_range' is [1, 5], and m1 has 4 layers"
refused 's/\[1, 4\]/[1, 1]/; s/\[0, 3\]/[3, 3]/' 'the slices have no layers'
refused 's/passthrough/slerp/' "needs 'base_model'"
refused 's/sources/source/' "'source' in a slice (did you mean 'sources'?)"
refused 's/m1/m2/' 'm2'
refused '$a task_deltas: {density: 1}' "'task_deltas' needs whole models"
