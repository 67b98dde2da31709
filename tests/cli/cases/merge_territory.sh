# What OUT may never replace: inputs and recipes, however they are reached; and side files with awkward names.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

cp -r "$ROOT/tests/data/tinylm/python" s0
cp -r "$ROOT/tests/data/tinylm/c" s1
printf 'merge_method: linear\nmodels:\n - {model: s0, parameters: {weight: 1}}\n - {model: s1, parameters: {weight: 1}}\n' >r.yaml
run merge r.yaml o
expect_exit 0

# An input in the OUT.partial beside an OUT that is a link.
mkdir real
ln -s real ol
cp -r s0 ol.partial
sed 's/model: s0/model: ol.partial/' r.yaml >partial.yaml
run merge partial.yaml ol --overwrite
expect_usage_error ol.partial
[[ -e ol.partial/config.json ]] || fail 'the input was removed'

# An input, or the recipe, behind links that lead through OUT.
ln -s "$PWD/s0" o/lm
mkdir m0
for file in s0/*; do ln -s "../o/lm/${file##*/}" m0/; done
sed 's/model: s0/model: m0/' r.yaml >links.yaml
run merge links.yaml o --overwrite
expect_usage_error m0
sed 's/model: s0/model: o\/lm/' r.yaml >through.yaml
run merge through.yaml o --overwrite
expect_usage_error o/lm
ln -s ../r.yaml o/link.yaml
run merge o/link.yaml o --overwrite
expect_usage_error link.yaml
[[ -e o/link.yaml && -e o/lm ]] || fail 'OUT was touched'

# Names of side files: not UTF-8, and that of the journal.
printf x >s0/$'\xff.txt'
mkdir s0/weft.journal
echo '{}' >s0/weft.journal/x.json
run merge r.yaml awkward
expect_exit 0
run verify awkward
expect_exit 0
run merge r.yaml awkward --resume
expect_exit 0

run merge r.yaml $'odd\xff'
expect_exit 0
grep -q '^# odd?$' $'odd\xff/README.md' || fail 'the card is not UTF-8'

# A model that gives its tokenizer alone, and a table of coefficients: no tensor of the plan is theirs.
for name in t0 t1 donor; do
    "${WEFT%/*}/mkckpt" --out $name --layers 1 --hidden 16 --vocab 4 --config >/dev/null || fail 'mkckpt'
    echo '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "merges": [],' \
        '"vocab": {"a": 0, "b": 1, "c": 2, "d": 3}}}' >$name/tokenizer.json
done
printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: t0}, {model: t1}]\ntokenizer_source: donor\n' >donor.yaml
run merge donor.yaml donor --overwrite
expect_usage_error donor
[[ -e donor/model.safetensors ]] || fail 'the model that gives its tokenizer was replaced'
run merge donor.yaml elsewhere
expect_exit 0
mkdir tables
echo '{"*": [0.5]}' >tables/c.json
printf 'merge_method: task_arithmetic\nbase_model: t0\nmodels: [{model: t1}]\ncoefficients: tables/c.json\n' >table.yaml
run merge table.yaml tables --overwrite
expect_usage_error tables/c.json
run merge table.yaml elsewhere --overwrite
expect_exit 0

# The table where OUT is made; a side file that is a link into OUT, and is not carried over.
mkdir elsewhere2.partial
cp tables/c.json elsewhere2.partial/
sed 's|tables/|elsewhere2.partial/|' table.yaml >partial_table.yaml
for flag in --overwrite --resume; do
    run merge partial_table.yaml elsewhere2 $flag
    expect_usage_error elsewhere2.partial/c.json
    [[ -e elsewhere2.partial/c.json ]] || fail "$flag removed the table"
done
cp -r t1 linking
echo '{"a": 1}' >elsewhere/tokenizer_config.json
ln -sf ../elsewhere/tokenizer_config.json linking/
printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: linking}, {model: t0}]\n' >linking.yaml
run merge linking.yaml elsewhere --overwrite
expect_exit 2
expect_stderr_has "the input 'linking'"
[[ -e elsewhere/tokenizer_config.json ]] || fail 'a side file was removed'

# The manifest has what holds no tensors among its inputs, too.
run merge donor.yaml given
grep -A1 '"path": "donor", "revision": null, "size": [1-9][0-9]*, "role": "tokenizer"' given/weft_manifest.json |
    grep -q '"name": "tokenizer.json", "bytes": [0-9]*, "xxh128": "[0-9a-f]\{32\}"' || fail 'no tokenizer among the inputs'
run merge table.yaml tabled
grep -A1 '"path": "tables/c.json", "revision": null, "size": 13, "role": "coefficients"' tabled/weft_manifest.json |
    grep -q '"name": "c.json", "bytes": 13, "xxh128"' || fail 'no table among the inputs'
run verify tabled
expect_exit 0

# Models, recipe and table where stages go; the models that stages make lie there by right.
stage() # NAME BASE MODEL: a document
{
    echo ---
    [[ -z $1 ]] || echo "name: $1"
    printf 'merge_method: slerp\nparameters: {t: 0.5}\nbase_model: %s\nmodels: [{model: %s}]\n' "$2" "$3"
}
mkdir so.stages
cp -r t0 so.stages/x
(stage x so.stages/x t1 && stage y x t0 && stage '' y x) >stages.yaml
for flag in --overwrite --resume; do
    run merge stages.yaml so $flag
    expect_usage_error so.stages/x
    [[ -e so.stages/x/model.safetensors ]] || fail "$flag removed the input in OUT.stages"
done
rm -r so.stages/x
(stage x t0 t1 && stage y x t0 && stage '' y x) >so.stages/r.yaml
run merge so.stages/r.yaml so --overwrite
expect_usage_error so.stages/r.yaml
[[ -e so.stages/r.yaml ]] || fail 'the recipe was removed'
cp so.stages/r.yaml stages.yaml
mkdir other
ln -s other lo.stages
echo x >fo.stages
for out in lo fo; do
    for flag in --overwrite --resume; do
        run merge stages.yaml $out $flag
        expect_usage_error "$out.stages exists and is not a folder"
    done
done
run merge stages.yaml so --overwrite
expect_exit 0
expect_absent so.stages so.partial

# A model of a stage that is not made.
(stage spare so t1 && stage '' t0 t1) >spare.yaml
run merge spare.yaml so --overwrite
expect_exit 2
expect_stderr_has "the input './so'"
[[ -e so/model.safetensors ]] || fail 'a model of a stage that is not made was replaced'
