# What OUT and OUT.partial may be, and what is said when they are not.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe=$ROOT/configs/linear.yaml
run merge "$recipe" out
expect_exit 0
first=$(weights_of out)

run merge "$recipe" out
expect_usage_error out
[[ $(weights_of out) == "$first" ]] || fail 'out changed'
run merge "$recipe" out --resume
expect_exit 0
expect_stderr_has 'already complete'
run merge "$ROOT/configs/task-arithmetic.yaml" out --resume
expect_exit 2
expect_one_error_line
run merge "$ROOT/configs/task-arithmetic.yaml" out --overwrite
expect_exit 0
[[ $(weights_of out) != "$first" ]] || fail 'out is still the old one'
expect_absent out.partial
run merge "$recipe" ./out/ --overwrite
expect_exit 0
[[ $(weights_of out) == "$first" ]] || fail 'the same merge gave other bytes'

mkdir busy.partial
run merge "$recipe" busy
expect_usage_error busy.partial
run merge "$recipe" busy --overwrite
expect_exit 0
expect_absent busy.partial

echo text >file
run merge "$recipe" file
expect_exit 2
expect_one_error_line
[[ $(cat file) == text ]] || fail 'a file was replaced'

# Targets that cannot be written, for root as well.
run merge "$recipe" /proc/weft-out
expect_exit 4
expect_one_error_line
expect_stderr_has /proc/weft-out
run merge "$recipe" file/out
expect_one_error_line
expect_stderr_has file/out
[[ $status -eq 4 || $status -eq 2 ]] || fail "exit code is $status"

# OUT among the inputs.
cp -r "$TINYLM/python" model
printf 'merge_method: passthrough\nmodels:\n  - model: model\n' >same.yaml
for out in model ./model "$PWD/model" model/.; do
    run merge same.yaml "$out" --overwrite
    expect_exit 2
    expect_one_error_line
done
[[ $(weights_of model) == $(weights_of "$TINYLM/python") ]] || fail 'the input changed'
