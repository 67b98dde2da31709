# What a merge says: the summary, progress, nothing at --log-level error.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe=$ROOT/configs/linear.yaml
run merge "$recipe" a
expect_exit 0
expect_stdout_empty
grep -q '^weft: merged 39 tensors and copied 0 into a: .* read, .* written in .* s (.*/s), peak memory .*B$' \
    stderr || fail 'not the summary'
run merge "$recipe" b --log-level error --progress none
expect_exit 0
expect_stdout_empty
expect_stderr_empty
run merge "$recipe" c --device-memory 1G --gpus 0 --backend cpu
expect_exit 0
run merge "$recipe" e --progress bar
expect_exit 0
# A bar redraws its line; the last thing on the terminal is the summary.
tail -c 200 stderr | tr '\r' '\n' | grep -q '^weft: merged ' || fail 'the summary is not last'

for command in merge plan; do
    out=()
    [[ $command == merge ]] && out=(out)
    WEFT_CUDA_PLUGIN=$PWD/missing.so run $command "$recipe" "${out[@]}" --backend cuda
    expect_exit 4
    expect_one_error_line
    expect_stderr_has missing.so
    expect_absent out out.partial
done
