# Stages and what belongs to the result alone: its tokenizer, its card's list of models, the sums under --json.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# --no-copy-tokenizer leaves a stage its tokenizer: the next may need it.
for model in base one; do
    "${WEFT%/*}/mkckpt" --out $model --layers 1 --hidden 16 --vocab 34 --seed ${#model} --config >/dev/null || fail 'mkckpt'
    added=$([[ $model == base ]] || echo '{"id": 32, "content": "<one>", "special": true, "normalized": false}')
    vocab=$(for ((i = 0; i < 32; i++)); do printf '%s"t%d": %d' "${sep-}" $i $i && sep=', '; done)
    printf '{"version": "1.0", "added_tokens": [%s], "model": {"type": "BPE", "vocab": {%s}, "merges": []}}\n' \
        "$added" "$vocab" >$model/tokenizer.json
done
cat >first.doc <<'YAML'
name: first
merge_method: linear
parameters: {weight: 1}
models: [{model: one}, {model: one}]
YAML
cat first.doc <(printf '%s\n' --- 'merge_method: linear' 'parameters: {weight: 1}' 'base_model: base' \
    'models: [{model: base}, {model: first}]' 'tokenizer_source: union') >union.yml
ln -s "$WEFT" weft-yaml
run merge union.yml expected --compat mergekit
expect_exit 0
grep -q '<one>' expected/tokenizer.json || fail 'the union lacks a token'
last='weft-yaml union.yml --no-copy-tokenizer'
./weft-yaml union.yml made --no-copy-tokenizer >stdout 2>stderr || fail 'it fails'
[[ $(weights_of made) == "$(weights_of expected)" ]] || fail 'a stage lost its tokenizer'
expect_same_file expected/tokenizer.json made/tokenizer.json
cat first.doc <(printf '%s\n' --- 'merge_method: passthrough' 'models: [{model: first}]') >pass.yml
last='weft-yaml pass.yml --no-copy-tokenizer'
./weft-yaml pass.yml none --no-copy-tokenizer >stdout 2>stderr || fail 'it fails'
expect_absent none/tokenizer.json

# The card names the hub's models that the stages were made from, each once.
export HF_HUB_CACHE=$PWD/hub
for name in one two three; do
    commit=$(printf '%040d' ${#name})
    mkdir -p hub/models--org--$name/{refs,snapshots}
    printf %s "$commit" >hub/models--org--$name/refs/main
    make_model hub/models--org--$name/snapshots/"$commit" 1000
done
printf '%s\n' 'merge_method: linear' 'parameters: {weight: 1}' 'models: [{model: first}, {model: again}, {model: org/two}]' --- \
    'name: again' 'merge_method: passthrough' 'models: [{model: first}]' --- 'name: first' 'merge_method: linear' \
    'parameters: {weight: 1}' 'models: [{model: org/one}, {model: org/two}, {model: org/three}]' >hub.yml
run merge hub.yml card --json
expect_exit 0
[[ $(sed -n '2,/^---$/{/^base_model:/,/^base_model_rel/p}' card/README.md) == 'base_model:
- "org/two"
- "org/one"
- "org/three"
base_model_relation: merge' ]] || fail "the card names $(sed -n '2,/^---$/p' card/README.md)"

# `done` speaks of all stages together, as their own events do one by one; of one that is computed on the way there is none.
number() # EVENT KEY
{
    sed -n "s/^{\"event\":\"$1\",.*\"$2\":\([0-9]*\).*/\1/p" stdout
}
[[ $(number stage_done bytes_written) == 4000 && $(number done bytes_written) == 8000 ]] ||
    fail "bytes written: $(number stage_done bytes_written), $(number done bytes_written)"
[[ $(number stage_done bytes_read) == 12000 && $(number done bytes_read) == 24000 ]] ||
    fail "bytes read: $(number stage_done bytes_read), $(number done bytes_read)"
[[ $(number done tensors_merged) == 2 && $(number done tensors_copied) == 1 ]] || fail 'tensors of the last stage only'
[[ $(number stage number) == $'1\n2\n3' && $(sed -n 's/.*"name":"\(.*\)",.*"fused":true.*/\1/p' stdout) == again ]] ||
    fail "stages: $(grep '"event":"stage"' stdout)"
[[ $(tail -1 stdout) == '{"event":"done","out":"card",'* ]] || fail 'done is not the last event'
