# --json: events on standard output, nothing on standard error.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run merge "$ROOT/configs/linear.yaml" out --json
expect_exit 0
expect_stderr_empty
expect_json_lines stdout
run merge "$ROOT/configs/linear.yaml" out --json --overwrite --progress bar
expect_exit 0
expect_stderr_empty
expect_json_lines stdout
for words in 'plan CONFIG' 'inspect BASE' 'diff BASE PYTHON' 'diff BASE BASE' \
    'diff ENGLISH PYTHON --base BASE' 'verify BASE' methods 'methods linear'; do
    words=${words//CONFIG/$ROOT/configs/linear.yaml}
    words=${words//BASE/$TINYLM/base}
    words=${words//PYTHON/$TINYLM/python}
    words=${words//ENGLISH/$TINYLM/english}
    # shellcheck disable=SC2086
    run $words --json
    [[ $status -le 1 ]] || fail "exit code is $status"
    expect_stderr_empty
    expect_json_lines stdout
done
run doctor --json
expect_exit 0
expect_json_lines stdout
