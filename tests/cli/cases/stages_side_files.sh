# Stages behind a stage see the small files that it makes, not those of the folder that gave it a config.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for model in host one; do
    "${WEFT%/*}/mkckpt" --out $model --layers 1 --hidden 16 --vocab 34 --seed ${#model} --config >/dev/null || fail 'mkckpt'
    added=$([[ $model == host ]] || echo '{"id": 32, "content": "<one>", "special": true, "normalized": false}')
    vocab=$(for ((i = 0; i < 32; i++)); do printf '%s"t%d": %d' "${sep-}" $i $i && sep=', '; done)
    printf '{"version": "1.0", "added_tokens": [%s], "model": {"type": "BPE", "vocab": {%s}, "merges": []}}\n' \
        "$added" "$vocab" >$model/tokenizer.json
done
first=(--- 'name: first' 'merge_method: linear' 'base_model: host' 'tokenizer_source: union' 'chat_template: chatml'
    'parameters: {weight: 1}' 'models: [{model: host}, {model: one}]')
second=(--- 'name: second' 'merge_method: passthrough' 'models: [{model: first}]')
# check NAME LINES...: with both stages before it, a document gives what it gives after them
check()
{
    rm -rf first second merged expected
    printf '%s\n' "${@:2}" "${second[@]}" "${first[@]}" >all.yml
    run plan all.yml
    expect_exit 0
    [[ $(cat stderr) != *'no model has a chat template'* ]] || fail 'the plan sees no chat template'
    planned=$(sed -n 's/.* tokens in \([0-9]*\) rows.*/\1/p' stdout | tail -1)
    run merge all.yml merged
    expect_exit 0
    printf '%s\n' "${first[@]:1}" >first.yml
    printf '%s\n' "${second[@]:1}" >second.yml
    printf '%s\n' "${@:2}" >last.yml
    run merge first.yml first
    run merge second.yml second
    run merge last.yml expected
    expect_exit 0
    for file in model.safetensors config.json tokenizer.json chat_template.jinja; do
        if [[ -e expected/$file ]]; then
            expect_same_file expected/$file merged/$file
        else
            expect_absent merged/$file
        fi
    done
    [[ -z $planned || $planned == $(grep -o '"vocab_size": [0-9]*' merged/config.json | grep -o '[0-9]*') ]] ||
        fail "planned with $planned rows"
    [[ $failures -eq 0 ]] || echo "  in: $1"
}
linear=('merge_method: linear' 'parameters: {weight: 1}')
check 'a token of the first stage, which the second passes on' "${linear[@]}" 'base_model: host' \
    'models: [{model: host}, {model: second}]' \
    'tokenizer: {source: base, tokens: {"<y>": {source: {kind: model_token, model: second, token: "<one>"}}}}'
check 'the folder beside the stage that has its config' "${linear[@]}" 'models: [{model: second}, {model: one}]' \
    'tokenizer_source: host'
check 'a template of a stage' "${linear[@]}" 'chat_template: auto' 'models: [{model: second}, {model: second}]'
check 'a vocabulary of another model for a stage' "${linear[@]}" 'models: [{model: second}, {model: host}]' \
    'tokenizer_source: one'
