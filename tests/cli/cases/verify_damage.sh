# verify finds a single changed byte that the format cannot see.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run merge "$ROOT/configs/linear.yaml" out
expect_exit 0
run verify out
expect_exit 0
expect_stderr_empty
printf '\001' | dd of=out/model.safetensors bs=1 seek=1000000 conv=notrunc status=none
run verify out
expect_exit 1
expect_stdout_has model.safetensors
run verify out --json
expect_exit 1
expect_json_lines stdout
rm out/model.safetensors
run verify out
[[ $status -ge 1 && $status -le 3 ]] || fail "exit code is $status"
