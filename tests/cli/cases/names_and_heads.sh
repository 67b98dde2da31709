# Names with and without a prefix, a head that config.json ties and that is stored apart, a layer that alone has a tensor.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# model FOLDER CONFIG NAME=BYTE...: F32 tensors of 2 x 2, their bytes all alike
model()
{
    local header= at=0 pair folder=$1
    mkdir -p "$folder"
    printf '%s' "$2" >"$folder/config.json"
    shift 2
    for pair; do
        header+="${header:+,}\"${pair%=*}\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[$at,$((at + 16))]}"
        at=$((at + 16))
    done
    header="{$header}"
    while (((${#header} + 8) % 8)); do header+=' '; done
    # shellcheck disable=SC2059
    { printf "$(little_endian ${#header} 8)"; printf '%s' "$header"; } >"$folder/model.safetensors"
    for pair; do printf "${pair#*=}%.0s" {1..16} >>"$folder/model.safetensors"; done
}
linear() # MODEL MODEL [LINE...]
{
    printf '%s\n' 'merge_method: linear' 'parameters: {weight: 1}' "models: [{model: $1}, {model: $2}]" "${@:3}" >r.yml
}
gpt='{"architectures": ["GPT2LMHeadModel"]}'
model long "$gpt" transformer.h.0.w=A transformer.h.1.w=B transformer.wte.weight=C
model short "$gpt" h.0.w=D h.1.w=E wte.weight=F
names() { grep -ao '"[a-z0-9.]*\(w\|weight\)"' "$1/model.safetensors" | sort | tr -d '\n'; }

# The first model's names, whichever they are; the values are those of the tensors that belong together.
linear long short
run merge r.yml out
expect_exit 0
expect_stderr_has "r.yml:3: the names of short lack 'transformer.' in front and are taken with it"
[[ $(names out) == '"transformer.h.0.w""transformer.h.1.w""transformer.wte.weight"' ]] || fail "names are $(names out)"
linear short long
run merge r.yml back
expect_exit 0
expect_stderr_has "r.yml:3: the names of long have 'transformer.' in front and are taken without it"
[[ $(names back) == '"h.0.w""h.1.w""wte.weight"' ]] || fail "names are $(names back)"
cmp -s <(tail -c 48 out/model.safetensors) <(tail -c 48 back/model.safetensors) || fail 'other values the other way round'
run plan r.yml
expect_exit 0

# One name that does not fit, and nothing is taken for anything.
model odd "$gpt" h.0.w=D h.1.w=E wte.weight=F extra=G
linear long odd
run merge r.yml refused
expect_exit 2
model twice "$gpt" h.0.w=D transformer.h.1.w=E wte.weight=F
linear long twice
run merge r.yml refused
expect_exit 2
expect_absent refused refused.partial

# Tied by the config: the head is the table, or it is told; where the config says nothing, nothing is said.
tied='{"architectures": ["T"], "tie_word_embeddings": true}'
model same "$tied" lm_head.weight=A model.embed_tokens.weight=A model.layers.0.w=B
model apart "$tied" lm_head.weight=C model.embed_tokens.weight=D model.layers.0.w=E
linear same apart
run merge r.yml heads
expect_exit 0
expect_stderr_has "r.yml:3: config.json of apart ties the head to the embedding table, but 'lm_head.weight' is stored"
grep -q 'config.json of same' stderr && fail 'a head that is the table is told'
grep -q '"tie_word_embeddings": true' heads/config.json || fail 'the head was untied'
linear same same
run merge r.yml equal
expect_exit 0
grep -q 'ties the head' stderr && fail 'a head that is the table is told'

# T5: the first block alone has the biases.
t5='{"architectures": ["T5EncoderModel"], "num_layers": 3}'
model t5 "$t5" encoder.block.0.bias.weight=A encoder.block.0.w=B encoder.block.1.w=C encoder.block.2.w=D shared.weight=E
slices() # FIRST LAST
{
    printf 'merge_method: passthrough\nslices:\n  - sources: [{model: t5, layer_range: [%d, %d]}]\n' "$1" "$2" >r.yml
}
slices 1 3
run merge r.yml stack
expect_exit 0
expect_stderr_has "r.yml:3: of the layers of t5 only one has a tensor 'encoder.block.0.bias.weight', layer 0, and the result"
slices 0 2
run merge r.yml stack --overwrite
grep -q 'of the layers of' stderr && fail 'nothing is missing'
expect_exit 0
