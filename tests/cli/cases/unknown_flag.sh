# A flag that a command does not have: exit 2, one line, the nearest word.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run merge a b --memroy 1G
expect_usage_error "merge has no flag '--memroy' (did you mean '--memory'?)"
run merge a b --memroy=1G
expect_usage_error "merge has no flag '--memroy' (did you mean '--memory'?)"
run --overwite merge a b
expect_usage_error "did you mean '--overwrite'?"
run merge a b --frobnicate
expect_usage_error "merge has no flag '--frobnicate'; 'weft merge --help' lists its flags"
run merge a b -x
expect_usage_error "merge has no flag '-x'"
run merge a b -hx
expect_usage_error "merge has no flag '-hx'"
run merge a b --=3
expect_usage_error "merge has no flag '--'"
run merge a b --Memory 1G
expect_usage_error "did you mean '--memory'?"

# An abbreviation is no flag, but it says which one was meant, if only one can be.
run merge a b --mem 1G
expect_usage_error "merge has no flag '--mem' (did you mean '--memory'?)"
run merge a b --mem=1G
expect_usage_error "(did you mean '--memory'?)"
run plan a --diff
expect_usage_error "(did you mean '--diffable'?)"
run merge a b --m 1G
expect_usage_error "merge has no flag '--m'; 'weft merge --help' lists its flags"
run merge a b --null-computed
expect_usage_error "(did you mean '--null-compute'?)"
run --frobnicate
expect_usage_error "unknown flag '--frobnicate'"

# Flags that exist, but not here.
run inspect x --resume
expect_usage_error "inspect has no flag '--resume'"
run inspect x --shard-size 5GB
expect_usage_error "inspect has no flag '--shard-size'"
run inspect x --shard-size
expect_usage_error "inspect has no flag '--shard-size'"
run merge a b --base x
expect_usage_error "merge has no flag '--base'"
run merge a b --diffable
expect_usage_error "merge has no flag '--diffable'"
run plan a --overwrite
expect_usage_error "plan has no flag '--overwrite'"
run diff a b --progress none
expect_usage_error "diff has no flag '--progress'"
run verify a --base b
expect_usage_error "verify has no flag '--base'"
run methods --threads 2
expect_usage_error "methods has no flag '--threads'"
