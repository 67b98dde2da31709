# stages.sh - recipes that between them use every kind of stage with every scope, and models that are hard on
# them. Sourced by suites after suite.sh.
#
# Statistics take one of three ways through the engine (docs/ARCHITECTURE.md, "Stages"): a tensor inside one
# span, a tensor or model that is held, and one that is visited. Which one, memory and sizes decide; so each
# recipe is run with several of both.
# shellcheck shell=bash

# name | method | models | base | global parameters | parameters of each model (W: its weight)
# A name that ends with -compat is merged with --compat mergekit.
STAGES='
ties                 | ties             | 3 | base |                                 | weight: W, density: 0.4
ties-exact           | ties             | 3 | base | ties: exact                     | weight: W, density: 0.37
ties-row             | ties             | 3 | base | scope: row                      | weight: W, density: 0.4
ties-row-exact       | ties             | 2 | base | scope: row, ties: exact         | weight: W, density: 0.3
ties-model           | ties             | 3 | base | scope: model                    | weight: W, density: 0.3
ties-model-exact     | ties             | 2 | base | scope: model, ties: exact       | weight: W, density: 0.35
ties-model-rescale   | ties             | 2 | base | scope: model, rescale: true, ties: exact | weight: W, density: 0.3
ties-rescale         | ties             | 2 | base | rescale: true, ties: exact      | weight: W, density: 0.5
breadcrumbs          | breadcrumbs      | 3 | base |                                 | weight: W, density: 0.8, gamma: 0.05
breadcrumbs-band     | breadcrumbs      | 2 | base | rescale: true                   | weight: W, low: 0.15, high: 0.85
breadcrumbs-row      | breadcrumbs_ties | 2 | base | scope: row                      | weight: W, density: 0.7, gamma: 0.1
breadcrumbs-model    | breadcrumbs_ties | 2 | base | scope: model, rescale: true     | weight: W, low: 0.2, high: 0.9
della                | della            | 3 | base |                                 | weight: W, density: 0.6, epsilon: 0.2
della-compat         | della_linear     | 2 | base |                                 | weight: W, density: 0.5
dare-compat          | dare_ties        | 3 | base |                                 | weight: W, density: 0.5
sce                  | sce              | 3 | base | select_topk: 0.3                |
arcee_fusion         | arcee_fusion     | 1 | base |                                 |
nuslerp              | nuslerp          | 2 |      |                                 | weight: W
nuslerp-rows         | nuslerp          | 2 | base | nuslerp_flatten: false          | weight: W
nuslerp-columns      | nuslerp          | 2 |      | nuslerp_flatten: false, nuslerp_row_wise: true | weight: W
model_stock          | model_stock      | 3 | base |                                 |
model_stock-filters  | model_stock      | 3 | base | filter_wise: true               |
karcher              | karcher          | 3 |      | max_iter: 20                    |
multislerp           | multislerp       | 3 | base |                                 | weight: W
slerp                | slerp            | 1 | base | t: 0.3                          |
ramplus_tl           | ramplus_tl       | 3 | base | epsilon: 0.001                  |
'

# The names of the table, or of the lines that match a pattern.
stage_names() { # [PATTERN]
    grep -E "^[a-z]" <<<"$STAGES" | cut -d' ' -f1 | grep -E -- "${1:-.}"
}

# stage_recipe FILE NAME BASE MODEL MODEL MODEL: the recipe of one line; of a method that takes fewer models, the first.
stage_recipe() {
    local file=$1 name method models base global own weights=(0.7 0.45 -0.3) i
    IFS='|' read -r name method models base global own < <(grep -E "^$2 " <<<"$STAGES")
    {
        echo "merge_method: $method"
        [[ $base != *base* ]] || echo "base_model: $3"
        echo "seed: 17"
        [ -z "${global// /}" ] || echo "parameters: {$global}"
        echo "models:"
        for ((i = 0; i < models; i++)); do
            echo "  - model: ${*:$((4 + i)):1}"
            [ -z "${own// /}" ] || echo "    parameters: {${own/W/${weights[$i]}}}"
        done
    } >"$file"
}

# The ways through the engine, for models of about one MB (small_models): recipe and memory.
WAYS='
ties               2M    a tensor visited
ties-exact         12Mi  a tensor held
ties-model-rescale 2M    a model visited
ties-model-rescale 64Mi  a model held
'
small_models() { # FOLDER: four of them, 1 to 4
    local i
    for i in 1 2 3 4; do
        build/plain/mkckpt --out "$1/$i" --layers 1 --hidden 128 --vocab 600 --dtype bf16,f32 --shard-size 300000 \
            --seed $i --base-seed 1 --delta 0.2 --config
    done
}

# Shapes that are hard on statistics: without dimensions, without elements, of one column or one row, around the sizes
# where things change (64, 4096), with three dimensions; and long ones between, so that cuts fall anywhere.
ODD='
F64  a.double           [40,33]
F32  b.scalar           []
F32  b.row              [1,9001]
F32  b.three            [7,30,100]
F32  b.empty            [0,5]
F32  b.long             [100,1501]
F16  c.half             [77,91]
F16  c.column           [30011,1]
BF16 d.one              [1]
BF16 d.under            [63]
BF16 d.at               [64]
BF16 d.leaf             [4096]
BF16 d.leaf_and_one     [4097]
BF16 d.none             [0]
BF16 d.large            [301,3001]
BF16 d.column           [200003,1]
'
declare -A ODD_BYTES=([F64]=8 [F32]=4 [F16]=2 [BF16]=2)

# odd_model FOLDER SEED [DTYPES]: values as mkckpt makes them, a fine-tune of those of seed 1.
odd_model() {
    local folder=$1 dtype name shape at=0 n header= sizes=() i
    mkdir -p "$folder"
    while read -r dtype name shape; do
        [ -n "$dtype" ] || continue
        [[ " ${3:-F64 F32 F16 BF16} " == *" $dtype "* ]] || continue
        n=$((${ODD_BYTES[$dtype]} * $(tr ',' '*' <<<"$(tr -d '[]' <<<"$shape" | sed 's/^$/1/')")))
        header+="${header:+,}\"$name\":{\"dtype\":\"$dtype\",\"shape\":$shape,\"data_offsets\":[$at,$((at + n))]}"
        at=$((at + n))
        sizes+=("$dtype $n")
    done <<<"$ODD"
    header="{$header}"
    while (((${#header}) % 8)); do header+=' '; done
    for dtype in f64 f32 f16 bf16; do
        build/plain/mkckpt --out "$folder/$dtype" --tensors 1 --bytes 3MB --dtype $dtype --seed "$2" --base-seed 1 --delta 0.2
    done
    {
        n=${#header}
        # shellcheck disable=SC2059
        printf "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16)) 0 0 0 0 0)"
        printf %s "$header"
        for i in "${!sizes[@]}"; do
            read -r dtype n <<<"${sizes[$i]}"
            tail -c "$((2000000 - 8 * i))" "$folder/${dtype,,}/model.safetensors" | head -c "$n"
        done
    } >"$folder/model.safetensors"
    rm -r "${folder:?}"/{f64,f32,f16,bf16}
}
