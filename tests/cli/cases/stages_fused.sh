# A stage that works element by element and that one stage names is computed as that one reads: no folder, and the bytes
# that a folder would have given.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

mkckpt=${WEFT%/*}/mkckpt
for dtype in bf16 f16 f32 f64 bf16-f32-f16; do
    for seed in 1 2 3; do
        delta=$([[ $seed == 1 ]] || echo '--base-seed 1 --delta 0.1')
        # shellcheck disable=SC2086
        "$mkckpt" --out $dtype/$seed --layers 2 --hidden 48 --vocab 300 --seed $seed $delta --dtype ${dtype//-/,} --config \
            --shard-size 100000 >/dev/null || fail mkckpt
    done
done

# same WHAT FUSED DTYPE DOCUMENT...: documents, `name: x` first but in the last one, give as stages what they give one by one,
# at any size of memory; FUSED of them are computed on the way. Models are $PWD/DTYPE/N, written @N.
same()
{
    local what=$1 fused=$2 models=$PWD/$3 doc name
    shift 3
    rm -rf alone && mkdir alone
    : >stages.yml
    for doc in "$@"; do
        doc=${doc//@/$models/}
        [[ -s stages.yml ]] && echo --- >>stages.yml
        printf '%s\n' "$doc" >>stages.yml
        name=$(sed -n 's/^name: //p' <<<"$doc")
        grep -v ^name: <<<"$doc" >alone/doc.yml
        run merge alone/doc.yml "alone/${name:-expected}"
        expect_exit 0
    done
    for flags in '' '--memory 64MB --threads 1' '--memory 4Mi --threads 2 --io buffered' '--backend cpu --io direct'; do
        # shellcheck disable=SC2086
        run merge stages.yml merged --overwrite $flags
        expect_exit 0
        # In 4 MiB statistics may want files, to read them again.
        [[ $flags == *4Mi* || $(grep -c "computed on the way" stderr) == "$fused" ]] ||
            fail "$what: $(grep -c "computed on the way" stderr) fused"
        [[ $(weights_of merged) == $(weights_of alone/expected) ]] || fail "$what: other weights than with folders"
        expect_same_file merged/config.json alone/expected/config.json
        expect_absent merged.stages merged.partial
    done
    run plan stages.yml
    expect_exit 0
    [[ $(grep -c 'computed on the way' stdout) == "$fused" ]] || fail "$what: the plan has other stages on the way"
}

linear=$'name: first\nmerge_method: linear
models: [{model: @1, parameters: {weight: 1}}, {model: @2, parameters: {weight: 0.3}}]'
arithmetic=$'name: second\nmerge_method: task_arithmetic\nbase_model: @1\nmodels: [{model: first, parameters: {weight: 0.7}}]'
slerp=$'merge_method: slerp\nbase_model: first\nmodels: [model: @3]\nparameters: {t: 0.3}'
for dtype in bf16 f16 f32 f64 bf16-f32-f16; do
    same "$dtype under statistics" 1 $dtype "$linear" "$slerp"
    same "$dtype within a stage" 2 $dtype "$linear" "$arithmetic" \
        $'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: second}, {model: @3}]'
done
same 'another type' 1 f32 "$linear"$'\ndtype: bfloat16' "$slerp"$'\ndtype: float16'
same 'a cast' 1 f32 $'name: first\nmerge_method: passthrough\nmodels: [model: @1]\ndtype: bfloat16' "$slerp"
same 'copies alone' 2 bf16 $'name: first\nmerge_method: passthrough\nmodels: [model: @1]' \
    $'name: second\nmerge_method: passthrough\nmodels: [model: first]' $'merge_method: passthrough\nmodels: [model: second]'
same 'drawn numbers' 1 f32 \
    $'name: first\nmerge_method: dare_linear\nbase_model: @1\nseed: 5\nparameters: {density: 0.5, rescale: false}
models: [{model: @2, parameters: {weight: 1}}]' \
    $'merge_method: ties\nbase_model: @1\nmodels: [{model: first, parameters: {weight: 1, density: 0.5}}]'
same 'scope model' 1 f32 "$linear" \
    $'merge_method: ties\nbase_model: @1\nparameters: {scope: model}
models: [{model: first, parameters: {weight: 1, density: 0.5}}]'
same 'layers' 1 bf16 "$linear" $'merge_method: passthrough
slices:
  - sources: [{model: first, layer_range: [0, 2]}]
  - sources: [{model: first, layer_range: [1, 2]}]'
same 'layers of a stack' 1 bf16 $'name: first
merge_method: passthrough
slices:
  - sources: [{model: @1, layer_range: [0, 2]}]
  - sources: [{model: @2, layer_range: [0, 2]}]' $'merge_method: passthrough
slices:
  - sources: [{model: first, layer_range: [1, 4]}]'

# Not these: a stage with statistics, and one that two stages name.
same 'statistics of its own' 0 bf16 \
    $'name: first\nmerge_method: slerp\nbase_model: @1\nmodels: [model: @2]\nparameters: {t: 0.3}' \
    $'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: first}, {model: @3}]'
same 'two that name it' 1 bf16 "$linear" "$arithmetic" \
    $'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: second}, {model: first}]'

# What is on top of a stage is added to what was computed.
mkdir tiny
two="[{model: $TINYLM/python}, {model: $TINYLM/english}]"
same 'adapters on a stage' 1 tiny $'name: first\nmerge_method: linear\nparameters: {weight: 1}\nmodels: '"$two" \
    $'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: first+'"$TINYLM/python-lora}, {model: first}]"
lora=$TINYLM/base+$TINYLM/english-lora
same 'adapters within stages' 2 tiny \
    $'name: first\nmerge_method: linear\nparameters: {weight: 1}\nmodels: '"[{model: $lora}, {model: $TINYLM/c}]" \
    $'name: second\nmerge_method: linear\nparameters: {weight: 1}
models: [{model: first+'"$TINYLM/python-lora}, {model: $TINYLM/c}]" \
    $'merge_method: slerp\nparameters: {t: 0.4}\nbase_model: second+'"$TINYLM/c-lora"$'\nmodels: '"[model: $lora]"

# Tensors of other types are copied, and must be equal in all models of the stage, too.
# whole FOLDER BYTE: a float and four bytes, the last of which is BYTE.
whole()
{
    header='{"i":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    while (((${#header} + 8) % 8)); do header+=' '; done
    mkdir -p "$1"
    # shellcheck disable=SC2059
    { printf "$(little_endian ${#header} 8)"; printf '%s\0\0\200?abc%s' "$header" "$2"; } >"$1/model.safetensors"
    echo '{"architectures": ["Test"]}' >"$1/config.json"
}
whole bytes/1 d && whole bytes/2 d && whole bytes/3 e
same 'bytes' 2 bytes "$linear" "$arithmetic" $'merge_method: passthrough\nmodels: [model: second]'
sed -i 's,bytes/2,bytes/3,' stages.yml
run merge stages.yml merged --overwrite
expect_exit 3
expect_stderr_has "bytes/3/model.safetensors: tensor 'i' (U8) differs from $PWD/bytes/1/model.safetensors at byte 3"
expect_absent merged.stages
run verify merged # which was there before
expect_exit 0

# NaN is found where it is, whichever stage reads the file; one that a document lets pass is the next one's to refuse.
"$mkckpt" --out f32/nan --layers 2 --hidden 48 --vocab 300 --seed 3 --dtype f32 --config --nan model.norm.weight:7 >/dev/null
sed "s,@1,$PWD/f32/1,; s,@2,$PWD/f32/nan," <<<"$linear" >first.doc
printf '%s\n' "$(<first.doc)" --- 'merge_method: passthrough' 'models: [model: first]' >nan.yml
run merge nan.yml nan
expect_exit 3
expect_stderr_has "f32/nan/model.safetensors: tensor 'model.norm.weight' holds NaN or infinity at element 7"
expect_absent nan
printf '%s\n' "$(<first.doc)" 'non_finite: allow' --- "${slerp//@/$PWD/f32/}" >nan.yml
run merge nan.yml nan --overwrite
expect_exit 3
expect_stderr_has "nan.stages/first: tensor 'model.norm.weight' of this stage holds NaN or infinity at element 7"

# A model of the stage that changes is another plan; components and task deltas see the stage as any model.
printf '%s\n' "${linear//@/$PWD/f32/}" --- 'merge_method: pcb' "base_model: $PWD/f32/1" 'task_deltas: {density: 0.1}' \
    "models: [{model: first}, {model: $PWD/f32/3}]" >pcb.yml
run merge pcb.yml pcb --emit-components
expect_exit 0
expect_stderr_has "'first', computed on the way"
run verify pcb
expect_exit 0
mkdir apart && sed -n '/^---/q;/^name/!p' pcb.yml >apart/first.yml
run merge apart/first.yml apart/first
sed "1,/^---/d" pcb.yml >apart/pcb.yml
run merge apart/pcb.yml apart/pcb --emit-components
expect_exit 0
for part in . deltas components; do
    [[ $(weights_of pcb/$part) == $(weights_of apart/pcb/$part) ]] || fail "$part: other bytes than with a folder"
done
run merge pcb.yml pcb --emit-components --resume
expect_exit 0
expect_stderr_has 'already complete'
touch -d @1000000000 f32/2/*.safetensors
run merge pcb.yml pcb --emit-components --resume
expect_exit 2
expect_stderr_has 'pcb is of another plan'
