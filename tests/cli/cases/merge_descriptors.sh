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
last='weft merge --json into a closed pipe'
(trap '' PIPE; "$WEFT" merge "$recipe" pipe --json 2>stderr | true)
expect_absent pipe.partial.lock
