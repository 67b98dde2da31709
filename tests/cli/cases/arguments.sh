# Missing, extra and empty arguments: exit 2, one line with the usage.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run merge
expect_usage_error 'merge needs RECIPE; usage: weft merge RECIPE OUT'
run merge a
expect_usage_error 'merge needs OUT; usage: weft merge RECIPE OUT'
run merge a b c
expect_usage_error "merge: 'c' is one argument too many; usage: weft merge RECIPE OUT"
run merge a b c d e
expect_usage_error "merge: 'c' is one argument too many"
run merge a ''
expect_usage_error 'merge: OUT is empty'
run merge '' b
expect_usage_error 'merge: RECIPE is empty'
run plan
expect_usage_error 'plan needs RECIPE; usage: weft plan RECIPE'
run plan a b
expect_usage_error "plan: 'b' is one argument too many"
run inspect
expect_usage_error 'inspect needs MODEL'
run inspect a b
expect_usage_error "inspect: 'b' is one argument too many"
run diff a
expect_usage_error 'diff needs B; usage: weft diff A B'
run diff a b c
expect_usage_error "diff: 'c' is one argument too many"
run verify
expect_usage_error 'verify needs MODEL'
run methods linear slerp
expect_usage_error "methods: 'slerp' is one argument too many; usage: weft methods [NAME]"
run doctor . .
expect_usage_error "doctor: '.' is one argument too many; usage: weft doctor [FOLDER]"
run gen
expect_usage_error 'gen needs FORM'
run gen fish
expect_usage_error "gen: 'fish' is not one of man, bash, zsh"
run merge $'a\nb' b $'c\tc\033'
expect_usage_error "merge: 'c?c?' is one argument too many"
