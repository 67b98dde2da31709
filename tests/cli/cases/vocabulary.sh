# Vocabularies: rows brought together by token, the tokenizer's files, and what is said where they do not fit.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# model NAME ROWS SEED
model() {
    "${WEFT%/*}/mkckpt" --out "$1" --layers 2 --hidden 16 --vocab "$2" --seed "$3" --config >/dev/null || fail 'mkckpt'
}
# vocab COUNT [FIRST]: t0, t1, ... with ids from FIRST on, cyclic
vocab() {
    local i
    for ((i = 0; i < $1; i++)); do printf '%s"t%d": %d' "${sep:-}" "$i" "$(((i + ${2:-0}) % $1))" && local sep=', '; done
}
# tokenizer NAME VOCAB [ADDED [MORE]]
tokenizer() {
    printf '{\n  "version": "1.0",\n  "added_tokens": [%s],%s\n  "model": {"type": "BPE", "vocab": {%s}, "merges": []}\n}\n' \
        "${3:-}" "${4:-}" "$2" >"$1/tokenizer.json"
}
# recipe FILE LINES...: base and one, weight 1 on the second
recipe() {
    {
        printf 'merge_method: linear\nbase_model: base\nmodels:\n  - {model: one, parameters: {weight: 1}}\n'
        printf '%s\n' "${@:2}"
    } >"$1"
}
merged() { # LINES...: a merge to out that works
    recipe r.yaml "$@"
    rm -rf out
    run merge r.yaml out
    expect_exit 0
}
refused() { # EXIT TEXT LINES...
    recipe r.yaml "${@:3}"
    rm -rf out
    run merge r.yaml out
    expect_exit "$1"
    expect_one_error_line
    expect_stderr_has "$2"
    expect_absent out out.partial
}
has() { grep -qF -- "$2" "$1" || fail "$1 lacks: $2"; }

model base 32 1
model one 34 2
special='{"id": 32, "content": "<one>", "special": true, "normalized": false}'
tokenizer base "$(vocab 32)"
tokenizer one "$(vocab 32 5)" "$special, {\"id\": 33, \"content\": \"\\u0000\\\"\", \"special\": true}"
echo '{"eos_token_id": 7, "pad_token_id": [0, 1]}' >base/generation_config.json
echo '{"added_tokens_decoder": {}, "x": 1}' >base/tokenizer_config.json
touch base/merges.txt

# tables of two lengths: a sentence that says what to write, or the rows that both have
refused 2 'say tokenizer: {source: base}'
recipe r.yaml 'parameters: {weight: 1}'
run merge r.yaml cut --compat mergekit
expect_exit 0
expect_stderr_has 'cut to the first 32, as mergekit does'
has cut/config.json '"vocab_size": 32'

# the base's tokenizer: its files as they are; the other's rows where its tokens are
merged 'tokenizer_source: base'
expect_same_file out/tokenizer.json base/tokenizer.json
expect_same_file out/generation_config.json base/generation_config.json
has out/config.json '"vocab_size": 32'
merged 'tokenizer: {source: base, pad_to_multiple_of: 20}'
has out/config.json '"vocab_size": 40'

# a model's tokenizer: its files, and ids of configs that are its own
merged 'tokenizer_source: one'
expect_same_file out/tokenizer.json one/tokenizer.json
expect_absent out/merges.txt
has out/generation_config.json '"eos_token_id": 12'
has out/generation_config.json '"pad_token_id": [5, 6]'
has out/config.json '"vocab_size": 34'

# there and back again: rows in another order, then in the first one
cp -r base turned
tokenizer turned "$(vocab 32 9)"
printf 'merge_method: passthrough\nmodels: [{model: %s}]\ntokenizer_source: %s\n' base turned >there.yaml
printf 'merge_method: passthrough\nmodels: [{model: %s}]\ntokenizer_source: %s\n' there ./base >back.yaml
run merge there.yaml there
expect_exit 0
run merge back.yaml back --memory 16Mi --threads 1
expect_exit 0
! cmp -s there/model.safetensors base/model.safetensors || fail 'no row has moved'
run diff base back
expect_exit 0

# union: text is inserted, the slow form is left out
merged 'tokenizer: {source: union}'
has out/tokenizer.json '{"id": 32, "content": "<one>", "single_word": false'
has out/tokenizer.json '"content": "\u0000\""'
has out/tokenizer_config.json '"33": {"content": "\u0000\""'
expect_absent out/merges.txt
run verify out
expect_exit 0

# a token that only the recipe has
merged 'tokenizer: {source: base, tokens: {"<new>": {source: {kind: zero}}, "<z>": }}'
expect_stderr_has '1 token is in no model and gets a row of zeros (first: '"'<z>'"')'
has out/tokenizer.json '"content": "<new>"'
refused 2 "one has no row for 't99'" 'tokenizer: {tokens: {a: {source: {kind: model_token, model: one, token: t99}}}}'
refused 2 'is beyond the 34 rows' 'tokenizer: {tokens: {a: {source: {kind: model_token, model: one, token_id: 34}}}}'
cp -r one two
refused 2 'two gives a row and is not in the merge' 'tokenizer: {tokens: {a: {source: two}}}'

# weft plan knows the same; what changes a tokenizer changes the plan
recipe r.yaml 'tokenizer_source: union'
plan_of() { "$WEFT" merge r.yaml "$1" --json 2>/dev/null | sed -n 's/.*"plan":"\([0-9a-f]*\)".*/\1/p'; }
first=$(plan_of p1)
run plan r.yaml
expect_exit 0
expect_stdout_has '[34, 16]'
expect_stdout_has 'vocabulary  34 tokens in 34 rows, those of'
expect_stdout_has 'and 2 more; rows move in base, one'
[[ -n $first && $first = "$(plan_of p2)" ]] || fail 'two plans of one recipe differ'
tokenizer one "$(vocab 32 6)" "$special"
[[ $first != "$(plan_of p3)" ]] || fail 'another tokenizer, and the plan is the same'

# a stage whose vocabulary is a union, and one on top of it that knows its tokens before they are written
cat >stages.yaml <<END
name: joined
merge_method: linear
base_model: base
models: [{model: one, parameters: {weight: 1}}]
tokenizer_source: union
---
merge_method: linear
base_model: joined
models: [{model: joined, parameters: {weight: 1}}, {model: base, parameters: {weight: 1}}]
tokenizer: {source: base, tokens: {"<last>": {source: {kind: model_token, model: joined, token: "<one>"}}}}
END
run plan stages.yaml
expect_exit 0
expect_stdout_has '[34, 16]'
run merge stages.yaml staged
expect_exit 0
has staged/tokenizer.json '{"id": 32, "content": "<one>"'
has staged/tokenizer.json '{"id": 33, "content": "<last>"'

# a stage gives the vocabulary alone
sed -i '/^---/,$d' stages.yaml
cat >>stages.yaml <<END
---
merge_method: linear
models: [{model: base, parameters: {weight: 1}}, {model: one, parameters: {weight: 1}}]
tokenizer_source: joined
END
run merge stages.yaml lent
expect_exit 0
expect_same_file lent/tokenizer.json <("${WEFT}" merge r.yaml union >/dev/null 2>&1 && cat union/tokenizer.json)

# vocabularies that do not go together
tokenizer one "$(vocab 32)" '' ' "pre_tokenizer": {"type": "ByteLevel"},'
refused 2 'vocabularies of different kinds' 'tokenizer_source: union'
tokenizer one "$(vocab 32 | sed 's/t/other/g')"
refused 2 'would append 32 ordinary tokens' 'tokenizer: {source: union}'
merged 'tokenizer: {source: union, force: true}'
has out/config.json '"vocab_size": 64'

# damage, and tokens without a row
tokenizer one "$(vocab 32)" '{"id": 40, "content": "<shifted>"}'
refused 3 "added token '<shifted>' stands there with id 40 and gets 32" 'tokenizer_source: base'
printf '{"model": {"vocab": {"a": 0' >one/tokenizer.json
refused 3 'one/tokenizer.json: ' 'tokenizer_source: base'
rm one/tokenizer.json
merged 'tokenizer_source: base'
expect_stderr_has 'one has no tokenizer; taken to have that of'
tokenizer base "$(vocab 33)"
merged 'tokenizer_source: base'
expect_stderr_has "1 token of ./base/tokenizer.json is beyond the 32 rows of the base's table of embeddings (first: 't32', id 32)"
rm base/tokenizer.json base/tokenizer_config.json base/merges.txt
refused 2 'has no tokenizer files' 'tokenizer_source: base'

# equal tables, other tokens: a merge of rows as they are, and a warning
rm -rf one && model one 32 2
tokenizer base "$(vocab 32)"
tokenizer one "$(vocab 32 1)"
merged
expect_stderr_has "32 rows of the vocabulary are one token in base and another in one (first: row 0 is 't0' there"
tokenizer one "$(vocab 32)" '' ' "normalizer": null,'
merged
! grep -q warning stderr || fail 'a warning where ids are the same'

# A token that was added to the base's tokenizer, and no row to its table: it gets one. Many such tokens are another model's
# tokenizer.
cp -r base padded && cp -r one other
rm padded/generation_config.json
tokenizer padded "$(vocab 32)" '{"id": 32, "content": "<pad>", "special": true}'
tokenizer other "$(vocab 32)"
printf 'merge_method: linear\nbase_model: padded\nparameters: {weight: 1}\nmodels: [model: other]\ntokenizer_source: base\n' \
    >pad.yml
run merge pad.yml pad
expect_exit 0
beyond="the 32 rows of the base's table of embeddings (first: "
expect_stderr_has "1 token of ./padded/tokenizer.json is beyond $beyond'<pad>', id 32) and gets a row"
expect_stderr_has "1 token is in no model and gets a row of zeros (first: '<pad>')"
expect_same_file padded/tokenizer.json pad/tokenizer.json
has pad/config.json '"vocab_size": 33'
tokenizer padded "$(vocab 38)"
run merge pad.yml pad --overwrite
expect_usage_error "6 tokens of ./padded/tokenizer.json have ids beyond $beyond't32', id 32)"
run merge pad.yml pad --overwrite --compat mergekit
expect_exit 0
has pad/config.json '"vocab_size": 38'
