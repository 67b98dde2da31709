# chat_template: the models' most frequent one, a format's, or the recipe's own; every file of OUT agrees.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for model in base a b c d; do
    make_model $model 4
done
# recipe METHOD-LINES MODEL...: a linear merge of them
recipe()
{
    echo 'merge_method: linear'
    echo "$1"
    shift
    echo 'parameters: {weight: 1}'
    echo 'models:'
    printf '  - model: %s\n' "$@"
}
# expect_template TEXT: what merged/chat_template.jinja is
expect_template()
{
    printf %s "$1" | cmp -s - merged/chat_template.jinja || fail "the template is $(head -c 200 merged/chat_template.jinja)"
}

# Templates in each of their places; the most frequent one, white space at its ends aside.
printf '\n {{ one }} of the file  \n' >a/chat_template.jinja
echo '{"chat_template": "ignored, as the file wins"}' >a/tokenizer_config.json
two='[{"name": "tool", "template": "x"}, {"name": "default", "template": "{{ one }} of the file"}]'
echo '{"eos_token": "</s>",  "chat_template": '"$two"', "n": 1.50}' >b/tokenizer_config.json
echo '{"chat_template": "{{ three }}"}' >c/chat_template.json
echo '{"chat_template": "{{ three }}"}' >d/tokenizer_config.json
recipe 'chat_template: auto' a b c >r.yaml
run merge r.yaml merged
expect_exit 0
expect_stderr_has "chat template: that of 'a', which 2 of 3 models have"
expect_template '{{ one }} of the file'
grep -qF '"chat_template": "{{ one }} of the file"' merged/tokenizer_config.json || fail 'tokenizer_config.json says another'

# Of equally frequent ones the first in the recipe; a model named twice, or as the base too, counts once.
recipe 'chat_template: auto' c b d a >r.yaml
run merge r.yaml merged --overwrite
expect_template '{{ three }}'
grep -qF '"chat_template": "{{ three }}"' merged/chat_template.json || fail 'chat_template.json says another'
recipe 'chat_template: auto' c b b >r.yaml
run merge r.yaml merged --overwrite
expect_template '{{ three }}'

# The donor's file keeps every other byte; what has no file gets one; other templates go.
mkdir b/additional_chat_templates
echo '{{ tool }}' >b/additional_chat_templates/tool.jinja
recipe 'chat_template: "{{ messages[0] }} {# literal #}"' b a >r.yaml
run merge r.yaml merged --overwrite
expect_exit 0
expect_template '{{ messages[0] }} {# literal #}'
literal='{{ messages[0] }} {# literal #}'
[[ $(cat merged/tokenizer_config.json) == '{"eos_token": "</s>",  "chat_template": "'"$literal"'", "n": 1.50}' ]] ||
    fail "tokenizer_config.json is $(cat merged/tokenizer_config.json)"
expect_absent merged/additional_chat_templates
run verify merged
expect_exit 0
recipe 'chat_template: chatml' base >r.yaml
run merge r.yaml merged --overwrite
grep -qF '<|im_start|>' merged/chat_template.jinja || fail 'not ChatML'
expect_absent merged/tokenizer_config.json
{
    echo 'chat_template: |'
    printf '  {%%- for m in messages %%}\n    {{ m }}\n  {%%- endfor %%}\n'
} >lines
recipe "$(cat lines)" d >r.yaml
run merge r.yaml merged --overwrite
expect_exit 0
expect_template $'{%- for m in messages %}\n  {{ m }}\n{%- endfor %}\n'

# Nobody has one: said, and nothing is written. Without the key the donor's files stay as they are.
recipe 'chat_template: auto' base >r.yaml
run merge r.yaml merged --overwrite
expect_exit 0
expect_stderr_has 'r.yaml:2: no model has a chat template'
expect_absent merged/chat_template.jinja
recipe '' a >r.yaml
run merge r.yaml merged --overwrite
expect_same_file a/chat_template.jinja merged/chat_template.jinja
expect_same_file a/tokenizer_config.json merged/tokenizer_config.json
run merge r.yaml none
ln -s "$WEFT" weft-yaml
recipe 'chat_template: chatml' a >r.yaml
./weft-yaml r.yaml none --no-copy-tokenizer 2>stderr
expect_absent none/chat_template.jinja none/tokenizer_config.json

# What is no template, and files that cannot be read.
rm -r merged
for value in chatlm 'Be nice to all people, please.' '{{ short }}' '[auto]' '""' "$(printf '"{{ messages and more }}\\0 x"')"; do
    recipe "chat_template: $value" a >r.yaml
    run merge r.yaml merged
    expect_usage_error 'r.yaml:2: '
done
recipe 'chat_template: chatlm' a >r.yaml
run merge r.yaml merged
expect_usage_error "did you mean 'chatml'?"
recipe 'chat_template: auto' a d >r.yaml
echo '{"chat_template": ' >d/tokenizer_config.json
run merge r.yaml merged
expect_exit 3
expect_stderr_has 'd/tokenizer_config.json'
printf '{{ \377 }}' >d/chat_template.jinja
run merge r.yaml merged
expect_exit 3
expect_stderr_has 'd/chat_template.jinja: not a text in UTF-8'
expect_absent merged merged.partial
