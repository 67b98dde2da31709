# A wrong command: exit 2, one line, the nearest word.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run
expect_usage_error 'no command'
run --json
expect_exit 2
expect_one_error_line
run --
expect_usage_error 'no command'
run merg
expect_usage_error "unknown command 'merg' (did you mean 'merge'?)"
run MERGE
expect_usage_error "unknown command 'MERGE' (did you mean 'merge'?)"
run methods TIES
expect_usage_error "(did you mean 'ties'?)"
run inpsect x
expect_usage_error "did you mean 'inspect'?"
run veriyf --help
expect_usage_error "did you mean 'verify'?"
run ins x
expect_usage_error "unknown command 'ins' (did you mean 'inspect'?)"
run me
expect_usage_error "unknown command 'me'; 'weft --help' lists them"
run help
expect_usage_error "unknown command 'help' (did you mean 'weft --help'?)"
run help merge
expect_usage_error "did you mean 'weft --help'?"
run version
expect_usage_error "unknown command 'version' (did you mean 'weft --version'?)"
run frobnicate
expect_usage_error "unknown command 'frobnicate'; 'weft --help' lists them"
run ''
expect_usage_error "unknown command ''"
run Merge a b
expect_usage_error "did you mean 'merge'?"
run $'mer\nge\033[31m'
expect_usage_error "unknown command 'mer?ge?[31m'"
run "$(printf 'x%.0s' {1..20000})"
expect_exit 2
expect_one_error_line

# The hidden command is not offered.
run gne
expect_usage_error "'weft --help' lists them"
