# search: what stands in its way is said before the first evaluation; --resume goes on wherever it was stopped.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

cp -r "$TINYLM/base" base
printf 'merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: %s}]\nparameters: {weight: 0.5}\n' \
    "$TINYLM/python" >recipe.yaml
printf 'merge_method: linear\nmodels: [{model: base}, {model: %s}]\nparameters: {weight: 0.1}\n' \
    "$TINYLM/python" >linear.yaml
# Counts its runs, and likes what comes late.
echo 'echo x >>runs; wc -l <runs' >count.sh
evaluations() # N: there were so many in all
{
    [[ $(cat runs 2>/dev/null | wc -l) == "$1" ]] || fail "$(wc -l <runs) evaluations, not $1"
}

# OUT among the inputs, a file, without a folder to be in.
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out base --overwrite
expect_exit 2
expect_stderr_has "OUT 'base' is, holds, or lies in the input"
[[ -e base/config.json ]] || fail 'an input was replaced'
echo x >file
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out file --overwrite
expect_usage_error 'file exists and is not a folder'
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out no/where
expect_exit 4
mkdir other.search
echo x >other.search/mine
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out other
expect_usage_error 'other.search exists and holds no search'
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out new
expect_exit 0
evaluations 2

# Once more: nothing to do; with a larger budget, on to another best, in the place of the first.
run search recipe.yaml --fitness 'sh count.sh' --budget 2 --out new --resume
expect_exit 0
expect_stderr_has 'new is already complete'
evaluations 2
first=$(weights_of new)
mkdir new.search/candidate.old-77
run search recipe.yaml --fitness 'sh count.sh' --budget 4 --out new --resume
expect_exit 0
evaluations 4
[[ $(weights_of new) != "$first" ]] || fail 'the result is still the first'
expect_absent new.search/candidate.old-77 new.search/candidate new.partial

# A run that died in the last merge, of another best at that.
mv new new.partial
mv new.partial/weft_manifest.json new.partial/weft.journal
run search recipe.yaml --fitness 'sh count.sh' --budget 5 --out new --resume
expect_exit 0
evaluations 5

# What is not its result stays, and is found before more is evaluated.
mv new kept
cp -r base new
run search recipe.yaml --fitness 'sh count.sh' --budget 6 --out new --resume
expect_exit 2
expect_stderr_has 'new exists and is no result of this search'
[[ -e new/config.json ]] || fail 'OUT was replaced'
evaluations 5

# Candidates that give no model are the worst: weights here are cut at zero, and then add up to it.
run search linear.yaml --fitness 'echo 1 #' --budget 60 --out zeros
expect_exit 0
expect_stderr_has 'counts as nan, there is no such model: tensor '
grep -q '"fitness":null' zeros.search/search.jsonl || fail 'no candidate was refused'

# The recipe's own numbers are the user's to mend, and so are numbers that say a density twice.
sed 's/0.1/0/' linear.yaml >zero.yaml
run search zero.yaml --fitness 'echo 1 #' --budget 2 --out zero
expect_exit 2
expect_stderr_has 'error: zero.yaml: '
printf 'merge_method: breadcrumbs\nbase_model: base\nmodels: [{model: %s}]\nparameters: {weight: 1, low: 0.5, high: 0.9}\n' \
    "$TINYLM/python" >low.yaml
run search low.yaml --fitness 'echo 1 #' --budget 2 --out low --density
expect_usage_error "low.yaml:4: 'low' stands for a density"
expect_absent low low.search
