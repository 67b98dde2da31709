# Stages that change a vocabulary: later ones know its tokens and rows before anything is made.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for model in base one; do
    "${WEFT%/*}/mkckpt" --out $model --layers 1 --hidden 16 --vocab 34 --seed ${#model} --config >/dev/null || fail 'mkckpt'
    printf '{"version": "1.0", "added_tokens": [%s], "model": {"type": "BPE", "vocab": {%s}, "merges": []}}\n' \
        "$([[ $model == base ]] || echo '{"id": 32, "content": "<one>", "special": true, "normalized": false}')" \
        "$(for ((i = 0; i < 32; i++)); do printf '%s"t%d": %d' "${sep-}" $i $i && sep=', '; done)" >$model/tokenizer.json
    unset sep
done
cat >1.doc <<END
merge_method: linear
base_model: base
tokenizer_source: union
chat_template: chatml
parameters: {weight: 1}
models: [{model: base}, {model: one}]
END
# check NAME LINES...: both documents at once give what they give one by one
check()
{
    printf '%s\n' 'merge_method: linear' 'parameters: {weight: 1}' 'chat_template: auto' "${@:2}" >2.doc
    cat <(echo 'name: joined') 1.doc <(echo '---') 2.doc >both.yml
    rm -rf joined merged
    run merge both.yml merged
    expect_exit 0
    run merge both.yml merged --resume
    expect_exit 0
    expect_stderr_has 'already complete'
    run merge 1.doc joined
    run merge 2.doc expected --overwrite
    expect_exit 0
    for file in model.safetensors config.json tokenizer.json chat_template.jinja; do
        expect_same_file expected/$file merged/$file
    done
    rm -r joined
    [[ $failures -eq 0 ]] || echo "  in: $1"
}
check 'the tokenizer of a stage' 'base_model: base' 'models: [{model: joined}, {model: one}]' 'tokenizer_source: joined'
check 'a stage that gives the tokenizer alone' 'base_model: base' 'models: [{model: base}, {model: one}]' \
    'tokenizer_source: joined'
check 'a token that only the stage has' 'base_model: base' 'models: [{model: joined}, {model: base}]' \
    'tokenizer: {source: base, tokens: {"<one>": {source: joined}}}'
check 'a token on top of those of the stage' 'base_model: joined' 'models: [{model: joined}, {model: base}]' \
    'tokenizer: {source: union, tokens: {"<new>": {source: {kind: zero}}}}'

# --no-copy-tokenizer copies none, but makes the one that the recipe asks for.
ln -s "$WEFT" weft-yaml
last='weft-yaml 1.doc --no-copy-tokenizer'
./weft-yaml 1.doc made --no-copy-tokenizer 2>stderr || fail 'it fails'
grep -q '<one>' made/tokenizer.json || fail 'no tokenizer is made'
[[ -s made/chat_template.jinja ]] || fail 'no chat template is written'

# Ids of a config whose token the new vocabulary lacks are those of the model that gives the vocabulary, planned or not.
printf '{"version": "1.0", "added_tokens": [{"id": 32, "content": "<pad>"}, {"id": 33, "content": "<eos>"}], %s\n' \
    "$(sed 's/.*"added_tokens": \[[^]]*\], //' base/tokenizer.json)" >eos.json && mv eos.json base/tokenizer.json
sed -i 's/{/{"eos_token_id": 33, /' base/config.json
sed -i 's/{/{"eos_token_id": 32, /' one/config.json
echo '{"eos_token_id": 33}' >base/generation_config.json
echo '{"eos_token_id": 32}' >one/generation_config.json
for source in joined one; do
    rm -rf merged
    printf '%s\n' 'name: joined' 'merge_method: passthrough' 'models: [{model: one}]' --- 'merge_method: linear' 'base_model: base' \
        'parameters: {weight: 1}' 'models: [{model: base}, {model: joined}]' "tokenizer_source: $source" >ids.yml
    run plan ids.yml
    expect_exit 0
    run merge ids.yml merged
    expect_exit 0
    grep -q 'not in the new vocabulary' stderr && fail "$source: an id has no token"
    grep -q '"eos_token_id": 32' merged/config.json || fail "$source: config.json has $(grep eos merged/config.json)"
    grep -q '"eos_token_id": 32' merged/generation_config.json || fail "$source: $(cat merged/generation_config.json)"
done
# Where a stage gives the configs their ids count as it will write them.
printf '%s\n' 'name: joined' 'merge_method: linear' 'base_model: base' 'tokenizer_source: one' 'parameters: {weight: 1}' \
    'models: [{model: base}, {model: one}]' --- 'merge_method: linear' 'parameters: {weight: 1}' \
    'models: [{model: joined}, {model: base}]' 'tokenizer_source: ./base' >back.yml
run plan back.yml
expect_exit 0
grep -q 'not in the new vocabulary' stderr && fail 'the plan knows less than the merge'
run merge back.yml back
expect_exit 0
grep -q '"eos_token_id": 33' back/config.json || fail "config.json has $(grep eos back/config.json)"
grep -q '"eos_token_id": 33' back/generation_config.json || fail "generation_config.json is $(cat back/generation_config.json)"
