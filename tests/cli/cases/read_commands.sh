# inspect, diff, methods and doctor: what they print on standard output.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run inspect "$TINYLM/base"
expect_exit 0
expect_stderr_empty
expect_stdout_has model.layers.3.self_attn.v_proj.weight
expect_stdout_has 803,968
run inspect "$TINYLM/c/model.safetensors"
expect_exit 0
expect_stdout_has BF16
run inspect "$TINYLM/c/config.json"
[[ $status -eq 2 || $status -eq 3 ]] || fail "exit code is $status"
expect_one_error_line
run diff "$TINYLM/base" "$TINYLM/base"
expect_exit 0
expect_stderr_empty
run diff "$TINYLM/python" "$TINYLM/english" --base "$TINYLM/base"
expect_exit 1
expect_stderr_empty
expect_stdout_has lm_head.weight
cp stdout first
run diff --base="$TINYLM/base" "$TINYLM/python" "$TINYLM/english" --threads 3
expect_same_file stdout first
run diff "$TINYLM/python" "$TINYLM/english" --base missing
expect_usage_error missing
run methods
expect_exit 0
for method in linear passthrough task_arithmetic ties dare_ties slerp model_stock arcee_fusion; do
    expect_stdout_has $method
done
run methods --markdown
expect_exit 0
expect_stdout_has '# '
run doctor .
expect_exit 0
[[ -s stdout ]] || fail 'doctor prints nothing'
[[ $(find . -type f | wc -l) -eq 3 ]] || fail 'doctor left a file behind'
run doctor missing-folder
[[ $status -eq 2 || $status -eq 4 ]] || fail "exit code is $status"
expect_one_error_line
run plan "$ROOT/configs/linear.yaml" --diffable
expect_exit 0
cp stdout first
run plan "$ROOT/configs/linear.yaml" --diffable --threads 3
expect_same_file stdout first
