# Standard descriptors that are closed never end up in a tensor.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe=$ROOT/configs/linear.yaml
run merge "$recipe" reference
expect_exit 0
last='weft merge with descriptors 0, 1 and 2 closed'
"$WEFT" merge "$recipe" closed --progress plain --log-level debug <&- >&- 2>&-
status=$?
expect_exit 0
[[ $(weights_of closed) == $(weights_of reference) ]] || fail 'other bytes'
run verify closed
expect_exit 0
last='weft merge --json with standard output closed'
"$WEFT" merge "$recipe" json --json <&- >&- 2>stderr
status=$?
expect_exit 4
expect_one_error_line
expect_stderr_has 'json is complete'
last='weft merge --json into a closed pipe'
"$WEFT" merge "$recipe" pipe --json 2>stderr | true
status=${PIPESTATUS[0]}
# Whether the reader was gone before the last event is a matter of luck; the merge is not.
[[ $status -eq 0 || $status -eq 4 ]] || fail "exit code is $status"
[[ $(weights_of pipe) == $(weights_of reference) ]] || fail 'other bytes'
expect_absent pipe.partial
