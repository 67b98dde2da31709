# Scope model: what is found of the whole model is one for all tensors, weights and lambda are each tensor's own.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for model in base python english c; do ln -s "$TINYLM/$model" $model; done
recipe() { # METHOD PARAMETERS [LINE]
    printf 'merge_method: %s\nbase_model: base\nmodels: [model: python, model: english, model: c]\n' "$1"
    printf 'parameters: {%s}\n%s\n' "$2" "${3-}"
}
merged() { # OUT [FLAGS]
    run merge "$@" --overwrite
    expect_exit 0
}
tensors() { # RESULT A B: the names of A's tensors of which B has other bytes or the same
    "$WEFT" diff "$2" "$3" --json | sed -n "s/.*\"name\":\"\([^\"]*\)\".*\"result\":\"$1\".*/\1/p" | sort
}

# A tensor of a mixture is the tensor of the merge in which all have its numbers: so for each of the two.
mixture() { # METHOD PARAMETERS OPTION ONE OTHER
    recipe "$1" "$2, $3: $4" >one.yaml
    recipe "$1" "$2, $3: $5" >other.yaml
    recipe "$1" "$2, $3: [{filter: mlp, value: $4}, {value: $5}]" >mixed.yaml
    merged one.yaml one
    merged other.yaml other
    merged mixed.yaml mixed
    local mlp rest
    mlp=$(tensors different mixed other)
    rest=$(tensors different mixed one)
    [[ $mlp == *mlp* && $rest == *self_attn* ]] || fail "$1, $3: no tensor differs"
    [[ -z $(grep -v mlp <<<"$mlp") && -z $(grep mlp <<<"$rest") ]] || fail "$1, $2: not the numbers of each tensor ($3)"
    merged mixed.yaml again --threads 3 --memory 32Mi
    [[ $(weights_of again) == "$(weights_of mixed)" ]] || fail "$1, $2: other bytes"
}
for variant in code code-nlp code-vision code-vision-es paper; do
    mixture pcb "variant: $variant, density: 0.2" weight 0.25 1.5
done
mixture pcb 'density: 0.2' lambda 0.5 -1
for method in ties breadcrumbs breadcrumbs_ties; do
    mixture $method 'scope: model, density: 0.3, lambda: 0.5, normalize: false' weight 0.25 1.5
    mixture $method 'scope: model, density: 0.3, weight: 0.5' lambda 0.5 2
    mixture $method 'scope: model, density: 0.3, rescale: true, normalize: false' weight 0.25 1.5
done

# A table of coefficients, and a gradient.
echo '{"*": [1.5, 1.5, 1.5], "model.norm.weight": [0.25, 0.25, 0.25]}' >table.json
recipe pcb 'density: 0.2' 'coefficients: table.json' >table.yaml
recipe pcb 'density: 0.2, weight: [{filter: model.norm.weight, value: 0.25}, {value: 1.5}]' >filter.yaml
merged table.yaml table
merged filter.yaml filter
[[ $(weights_of table) == "$(weights_of filter)" ]] || fail 'a table of weights is not the filter of the same'
recipe ties 'scope: model, density: 0.5, weight: [0, 1]' >gradient.yaml
merged gradient.yaml gradient

# What the ranks depend on cannot differ, and is named, whatever else differs.
refused() { # OPTION METHOD PARAMETERS
    recipe "$2" "$3" >wrong.yaml
    run plan wrong.yaml
    expect_usage_error "wrong.yaml:1: with scope: model every tensor needs the same '$1', but '"
}
some='[{filter: mlp, value: 0.25}, {value: 0.5}]'
refused density pcb "weight: $some, density: $some"
refused variant pcb 'variant: [{filter: mlp, value: code-nlp}, {value: code-vision}]'
refused density ties "scope: model, weight: $some, density: $some"
refused ties ties 'scope: model, weight: 1, density: 0.5, ties: [{filter: mlp, value: exact}, {value: inclusive}]'
refused gamma breadcrumbs "scope: model, weight: $some, density: 0.5, gamma: $some"
refused high breadcrumbs "scope: model, weight: 1, low: 0.1, high: $some"

# Components have one weight for all tensors.
run merge mixed.yaml out --emit-components
expect_exit 2
recipe pcb "density: 0.2, weight: $some" >components.yaml
run merge components.yaml out --emit-components
expect_usage_error "task 'python' has other weights in '"
expect_absent out out.partial

# Nor can the number of models, which the statistics are about.
cat >slices.yaml <<END
merge_method: pcb
base_model: base
slices:
  - sources: [{model: python, layer_range: [0, 2]}, {model: c, layer_range: [0, 2]}]
  - sources: [{model: python, layer_range: [2, 4]}]
END
run plan slices.yaml
expect_usage_error 'with scope: model every slice needs as many models as the others, but those of '
