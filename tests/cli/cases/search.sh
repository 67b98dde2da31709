# search: finds weights that a command likes, the same ones after a stop; and says what is wrong with the command.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

cat >recipe.yaml <<END
merge_method: pcb
base_model: $TINYLM/base
models:
  - model: $TINYLM/python
  - {model: $TINYLM/english, parameters: {weight: 0.5}}
parameters: {lambda: 1.5}
END
# What is liked: 0.4 of python, 1.1 of english. Weights stand in the combined model's recipe.
cat >like.sh <<'END'
sed -n 's/^# "[a-z]*": //p' "$1/weft_recipe.yaml" | paste -s -d ' ' |
    awk '{ print "weights", $0; print -(($1 - 0.4) ^ 2 + ($2 - 1.1) ^ 2) }'
END
like='sh like.sh'

run search recipe.yaml --fitness "$like" --budget 40 --out whole
expect_exit 0
[[ $(wc -l <whole.search/search.jsonl) == 41 ]] || fail 'not one line for each evaluation'
[[ $(sed -n 2p whole.search/search.jsonl) == '{"evaluation":1,"weights":{"python":1.5,"english":0.75},'* ]] ||
    fail "the recipe's own weights are not first"
best=$(sed -n 's/.*fitness":\(.*\)}/\1/p' whole.search/search.jsonl | sort -g | tail -1)
awk -v best="$best" 'BEGIN { exit !(best > -0.02) }' || fail "the best is $best"
run verify whole
expect_exit 0

# A command that fails stops the search, which goes on as if it had not.
cp like.sh keep.sh
printf 'n=$(wc -l <part.search/search.jsonl)\n[ "$n" -lt 8 ] || [ -e on ] || exit 7\n' | cat - keep.sh >like.sh
run search recipe.yaml --fitness "$like" --budget 40 --out part
expect_exit 4
expect_stderr_has "'sh like.sh' ended with exit code 7"
expect_absent part
run search recipe.yaml --fitness "$like" --budget 40 --out part
expect_usage_error '--resume goes on with that search'
touch on
run search recipe.yaml --fitness "$like" --budget 40 --out part --seed 2 --resume
expect_usage_error 'is of another search'
printf '{"evaluation":8,"wei' >>part.search/search.jsonl
run search recipe.yaml --fitness "$like" --budget 40 --out part --resume
expect_exit 0
expect_same_file whole.search/search.jsonl part.search/search.jsonl
[[ $(weights_of whole) == "$(weights_of part)" ]] || fail 'another model'

# Density, a loss, another method.
run search recipe.yaml --fitness 'echo 1; true' --budget 3 --density --minimize --out dense
expect_exit 0
grep -q '"density":0.2,' dense.search/search.jsonl || fail 'no density'
sed "s/pcb/task_arithmetic/; /lambda/d; s|model: $TINYLM/python|&\n    parameters: {weight: 1}|" recipe.yaml >plain.yaml
run search plain.yaml --fitness 'echo 0.5 #' --budget 2 --out plain
expect_exit 0

# What commands do.
for pair in "echo word #:printed 'word'" 'true #:printed nothing' 'kill -9 $$ #:signal 9' \
    'echo nan #:gave no evaluation a number but nan' 'sleep 100 #:longer than --timeout 1'; do
    run search recipe.yaml --fitness "${pair%%:*}" --budget 1 --out bad --overwrite --timeout 1
    expect_exit 4
    expect_stderr_has "${pair#*:}"
    expect_absent bad
done
run search recipe.yaml --budget 3
expect_usage_error 'search needs --fitness COMMAND and --budget N'

# Ratings are of these models, and the log says so; a log that has not begun is no obstacle.
cp -r "$TINYLM/python" changing
sed "s|$TINYLM/python|changing|" recipe.yaml >changing.yaml
run search changing.yaml --fitness "$like" --budget 3 --out changed
expect_exit 0
rm -r changed changing
cp -r "$TINYLM/c" changing
run search changing.yaml --fitness "$like" --budget 5 --out changed --resume
expect_usage_error 'is of another search (recipe, models'
expect_absent changed
run search changing.yaml --fitness "$like" --budget 3 --out changed --overwrite
expect_exit 0
cp changed.search/search.jsonl log
rm -r changed
head -c 20 log >changed.search/search.jsonl
run search changing.yaml --fitness "$like" --budget 3 --out changed --resume
expect_exit 0
expect_same_file log changed.search/search.jsonl

# A folder that holds no search is nobody's to remove, nor is a model that is searched for.
mkdir other.search
echo precious >other.search/mine
for flag in --resume --overwrite; do
    run search recipe.yaml --fitness "$like" --budget 3 --out other $flag
    expect_usage_error 'other.search exists and holds no search'
    [[ $(cat other.search/mine) == precious ]] || fail "$flag removed it"
done
mv changing changed.search/model
sed -i 's|model: changing|model: changed.search/model|' changing.yaml
run search changing.yaml --fitness "$like" --budget 3 --out changed --overwrite
expect_usage_error "'changed.search/model' lies in changed.search, where weft search works"
[[ -e changed.search/model/config.json ]] || fail 'the model is gone'
