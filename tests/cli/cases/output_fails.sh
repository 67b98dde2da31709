# Results that cannot be written: exit 4 and one line, never silence.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

full()
{
    last="weft $* >/dev/full"
    : >stdout
    "$WEFT" "$@" >/dev/full 2>stderr
    status=$?
    expect_exit 4
    expect_one_error_line
    expect_stderr_has 'No space left on device'

    last="weft $* >&-"
    "$WEFT" "$@" >&- 2>stderr
    status=$?
    expect_exit 4
    expect_one_error_line
}

[[ -c /dev/full ]] || skip 'there is no /dev/full'
full --help
full --version
full merge --help
full gen man
full gen bash
full gen zsh
full methods
full methods linear
full inspect "$TINYLM/base"
full inspect --json "$TINYLM/base"
full diff "$TINYLM/base" "$TINYLM/base"
full diff "$TINYLM/base" "$TINYLM/python"
full verify "$TINYLM/base"
full plan "$ROOT/configs/linear.yaml"
full plan --json "$ROOT/configs/linear.yaml"

# An error keeps its own exit code and line.
last='weft inspect missing >/dev/full'
"$WEFT" inspect missing >/dev/full 2>stderr
status=$?
expect_exit 2
expect_one_error_line

# A reader that has gone away ends the command quietly, as other tools do.
last='weft gen man | true'
(trap - PIPE; "$WEFT" gen man 2>stderr | true)
expect_stderr_empty
