/* test_recipe.c - recipes read right, and wrong ones refused with the line and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/base/file.h"
#include "../../src/base/log.h"
#include "../../src/recipe/recipe.h"

#define GOLDEN "tests/golden/recipes/"

struct recipe_test {
    struct wf_err e;
    struct wf_arena a;
    struct wf_recipe r;
};

static int parse_as(struct recipe_test *t, const char *path, const char *text, bool compat)
{
    *t = (struct recipe_test){0};
    return wf_recipe_parse(&t->e, &t->a, path, text, strlen(text), compat, &t->r);
}

static void accept(struct recipe_test *t, const char *text, bool compat)
{
    if (parse_as(t, "recipe.yaml", text, compat))
        fail_msg("refused: %s\n%s", t->e.text, text);
    assert_int_equal(wf_err_status(&t->e), WF_OK);
}

/* --- what is refused ------------------------------------------------------------------------ */

struct wrong {
    const char *text;
    int line;
    const char *says;
};

#define BYOM(more) "merge_method: byom_lora\n" more "models:\n- model: x/a\n"
#define ONE "models:\n  - model: a\n    parameters:\n      weight: 1\n" /* four lines */
#define LINEAR "merge_method: linear\n"
#define TIES "merge_method: ties\nbase_model: b\n"
#define CRUMBS "merge_method: breadcrumbs\nbase_model: b\n"
#define SLERP "merge_method: slerp\nbase_model: b\nparameters: {t: 0.5}\n"
#define NUSLERP "merge_method: nuslerp\nparameters: {weight: 1}\n"
#define WEIGHT(v) LINEAR "models:\n  - model: a\n    parameters:\n      weight: " v "\n"

#define SLICED(entries) "merge_method: passthrough\nslices:\n" entries

static const struct wrong wrong[] = {
    /* the document */
    {"- a\n", 1, "a recipe is a map of keys"},
    {"text\n", 1, "a recipe is a map of keys"},
    {LINEAR ONE "---\n" LINEAR ONE, 7, "second document"},
    /* keys */
    {"merge_metod: linear\n" ONE, 1, "unknown key 'merge_metod' (did you mean 'merge_method'?)"},
    {LINEAR ONE "zebra: 1\n", 6, "unknown key 'zebra'"},
    {LINEAR ONE "dtpye: float32\n", 6, "did you mean 'dtype'?"},
    {LINEAR "models:\n  - model: a\n    paramters: {weight: 1}\n", 4,
     "unknown key 'paramters' in a model's entry (did you mean 'parameters'?)"},
    {LINEAR "models:\n  - model: a\n    weight: 1\n", 4,
     "'weight' is a parameter of 'linear': it belongs under 'parameters'"},
    {LINEAR "normalize: true\n" ONE, 2, "it belongs under 'parameters'"},
    {LINEAR "models:\n  - model: a\n    dtype: float32\n", 4, "belongs at the top level"},
    {LINEAR "model: a\n", 2, "belongs in an entry of 'models'"},
    {LINEAR ONE "zebra:\n", 6, "unknown key 'zebra'"},
    {LINEAR ONE "wieght: 1\n", 6,
     "unknown key 'wieght' (did you mean 'weight'? It is a parameter of 'linear' and belongs under "
     "'parameters')"},
    {"merge_method: task_arithmetic\nbase_model: b\ndensty: 1\n" ONE, 3,
     "did you mean 'density'? It is a parameter of 'task_arithmetic'"},
    {LINEAR "models:\n  - model: a\n    wieght: 1\n", 4,
     "unknown key 'wieght' in a model's entry (did you mean 'weight'? It is a parameter"},
    /* keys of the dialect that come later */
    {"slices: []\n" LINEAR, 1, "'slices' needs a list"},
    {LINEAR "modules: {}\n", 2, "'modules' needs a map"},
    {LINEAR ONE "tokenizer_source: union\ntokenizer: {}\n", 6, "keep 'tokenizer'"},
    {LINEAR ONE "tokenizer: base\n", 6, "needs a map such as {source: base}"},
    {LINEAR ONE "tokenizer: {sauce: base}\n", 6, "did you mean 'source'?"},
    {LINEAR ONE "tokenizer: {source: [base]}\n", 6, "needs one model, not a list"},
    {LINEAR ONE "tokenizer: {pad_to_multiple_of: 0}\n", 6, "a whole number from 1"},
    {LINEAR ONE "tokenizer: {pad_to_multiple_of: 1.5}\n", 6, "a whole number from 1"},
    {LINEAR ONE "tokenizer: {force: 2}\n", 6, "'force' must be true or false"},
    {LINEAR ONE "tokenizer: {tokens: [a]}\n", 6, "needs a map from token"},
    {LINEAR ONE "tokenizer: {tokens: {'': {}}}\n", 6, "an empty text"},
    {LINEAR ONE "tokenizer: {tokens: {x: base}}\n", 6, "needs a map such as {source: MODEL}"},
    {LINEAR ONE "tokenizer:\n  tokens:\n    x: {forced: true}\n", 8, "did you mean 'force'?"},
    {LINEAR ONE "tokenizer: {tokens: {x: {source: {kind: one}}}}\n", 6, "model_token or zero"},
    {LINEAR ONE "tokenizer: {tokens: {x: {source: {kind: model_token}}}}\n", 6, "needs 'model'"},
    {LINEAR ONE "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}\n", 6,
     "needs 'token' or 'token_id'"},
    {LINEAR ONE "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, token: b, "
                "token_id: 1}}}}\n",
     6, "and not both"},
    {LINEAR ONE "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, token_id: -1}}}}\n",
     6, "a whole number from 0"},
    {LINEAR ONE "chat_template: chatlm\n", 6, "did you mean 'chatml'?"},
    {LINEAR ONE "chat_template: [auto]\n", 6, "needs a text, not a list"},
    {LINEAR ONE "chat_template: '{{ eighteen bytes'\n", 6, "is no format that weft knows"},
    {LINEAR ONE "chat_template: a template without any braces\n", 6, "a '{' at least"},
    {LINEAR ONE "coefficients: [t.json]\n", 6, "'coefficients' needs a text"},
    {"merge_method: slerp\ncoefficients: t.json\n" ONE, 2,
     "stands in for 'weight', which merge_method 'slerp' does not have"},
    {LINEAR ONE "task_deltas: 0.1\n", 6, "needs a map such as {density: 0.1}"},
    {LINEAR ONE "task_deltas: [0.1]\n", 6, "needs a map such as {density: 0.1}"},
    {LINEAR ONE "task_deltas: {}\n", 6, "has no 'density'"},
    {LINEAR ONE "task_deltas: {scope: model}\n", 6, "has no 'density'"},
    {LINEAR ONE "task_deltas:\n  densty: 1\n", 7, "unknown key 'densty' (did you mean 'density'?)"},
    {LINEAR ONE "task_deltas:\n  density: 1.5\n", 7, "must be a number from 0 to 1"},
    {LINEAR ONE "task_deltas:\n  density: -0.1\n", 7, "must be a number from 0 to 1"},
    {LINEAR ONE "task_deltas:\n  density: .nan\n", 7, "must be a number from 0 to 1"},
    {LINEAR ONE "task_deltas:\n  density: [1]\n", 7, "needs a number from 0 to 1, not a list"},
    {LINEAR ONE "task_deltas: {density: 1, scope: row}\n", 6, "it must be model or tensor"},
    {LINEAR ONE "task_deltas: {density: 1, scope: tensr}\n", 6, "(did you mean 'tensor'?)"},
    {LINEAR ONE "task_deltas: {density: 1, store: repalce}\n", 6, "(did you mean 'replace'?)"},
    {LINEAR ONE "task_deltas: {density: 1, store: {}}\n", 6, "'store' needs a text"},
    {LINEAR ONE "task_deltas: {density: 1, dir: /tmp}\n", 6, "must be a folder below the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: ~/x}\n", 6, "must be a folder below the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: .}\n", 6, "must stay inside the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: ..}\n", 6, "must stay inside the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: a/../../b}\n", 6, "must stay inside the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: a//b}\n", 6, "must stay inside the output"},
    {LINEAR ONE "task_deltas: {density: 1, dir: ''}\n", 6, "is an empty text"},
    {LINEAR ONE "task_deltas: {density: 1, dir: config.json}\n", 6, "weft uses itself"},
    {LINEAR ONE "task_deltas: {density: 1, dir: model.safetensors/x}\n", 6, "weft uses itself"},
    {LINEAR ONE "task_deltas: {density: 1, dir: weft_manifest.json}\n", 6, "weft uses itself"},
    {LINEAR ONE "task_deltas: {density: 1, dir: spool}\n", 6, "weft uses itself"},
    {LINEAR "models:\n  - model: x/a\n  - model: y/a\nparameters: {weight: 1}\n"
            "task_deltas: {density: 1}\n",
     4, "two models are the task 'a' (the other on line 3)"},
    {LINEAR "models:\n  - model: x/a\n  - model: y\n    name: a\nparameters: {weight: 1}\n"
            "task_deltas: {density: 1}\n",
     4, "two models are the task 'a'"},
    {WEIGHT("[]"), 5, "an empty list"},
    {WEIGHT("[0, [1]]"), 5, "not a list in a list of values"},
    {WEIGHT("[0, ~]"), 5, "not nothing"},
    {WEIGHT("[0, x]"), 5, "'weight' needs a finite number, not 'x'"},
    {WEIGHT("[0, .inf]"), 5, "a finite number"},
    {WEIGHT("{filter: x}"), 5, "has no 'value'"},
    {WEIGHT("{filtre: x, value: 1}"), 5, "'filtre' (did you mean 'filter'?)"},
    {WEIGHT("{filter: 'a[', value: 1}"), 5, "'[' without its ']'"},
    {WEIGHT("[{value: 1}, 2]"), 5, "a single value among them"},
    {WEIGHT("[{value: {value: 1}}]"), 5, "not a map"},
    {TIES "models:\n- model: a\n  parameters:\n    weight: 1\n    density:\n    - filter: x\n"
          "      value: [0, 2]\n",
     9, "'density' is 2; it must be from 0 to 1"},
    {SLICED("- sources: [{model: a}]\n"), 3, "no 'layer_range'"},
    {SLICED("- sources: [{model: a, layer_range: 3}]\n"), 3, "needs two numbers"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1, 2]}]\n"), 3, "needs two numbers"},
    {SLICED("- sources: [{model: a, layer_range: [0, -1]}]\n"), 3, "has -1; layers count from 0"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1.5]}]\n"), 3, "whole numbers, not 1.5"},
    {SLICED("- sources: [{model: a, layer_range: [0, x]}]\n"), 3, "whole numbers, not x"},
    {SLICED("- sources: [{model: a, layer_range: [2, 1]}]\n"), 3, "ends before it begins"},
    {SLICED("- sources: [{model: a, layer_range: [2, 2]}]\n"), 3, "range' is empty"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1]}]\n"
            "- sources: [{model: a, layer_range: [1, 1]}]\n"
            "- sources: [{model: a, layer_range: [1, 2]}]\n"),
     4, "'layer_range' is empty"},
    {SLICED("- sources: []\n"), 3, "'sources' needs a list"},
    {SLICED("- layers: []\n"), 3, "unknown key 'layers' in a slice"},
    {SLICED("- a\n"), 3, "a map with 'sources'"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1], weight: 1}]\n"), 3,
     "unknown key 'weight'"},
    {SLICED("- model: a\n"), 3, "'model' belongs in an entry of 'models'"},
    {"merge_method: linear\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2]}\n"
     "  - {model: b, layer_range: [0, 3]}\nparameters: {weight: 1}\n",
     5, "this one has 3, the first has 2"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1]}]\nmodels: [{model: a}]\n"), 2,
     "has 'models' and 'slices'"},
    {"merge_method: slerp\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2]}\n"
     "  - {model: b, layer_range: [0, 2]}\nparameters: {t: 1}\n",
     3, "needs 'base_model'"},
    {"merge_method: slerp\nbase_model: c\nslices:\n- sources:\n"
     "  - {model: a, layer_range: [0, 2]}\n  - {model: b, layer_range: [1, 3]}\nparameters: {t: "
     "1}\n",
     4, "list 'c', the base_model, among the 'sources'"},
    {"merge_method: slerp\nbase_model: a\nslices:\n- sources:\n"
     "  - {model: a, layer_range: [0, 2]}\n  - {model: b, layer_range: [1, 3]}\n",
     1, "needs 't'"},
    {SLICED("- sources: [{model: a, layer_range: [0, 1]}]\ntask_deltas: {density: 1}\n"), 4,
     "needs whole models"},
    {"merge_method: passthrough\nmodules: {x: {models: [{model: a}], slices: []}}\n", 2,
     "has 'models' and 'slices'"},
    {"merge_method: passthrough\nmodules: {x: {}}\n", 2, "no 'models' and no 'slices'"},
    {"merge_method: passthrough\nmodules: {x: 3}\n", 2, "a map with 'models' or 'slices'"},
    {"merge_method: passthrough\nmodules: {x: {model: a}}\n", 2, "'model' belongs in an entry"},
    {LINEAR "models:\n  - model: {model: {path: a}, lroa: {path: b}}\n", 3, "'lroa' (did you mean"},
    {LINEAR "models:\n  - model: {model: a+b, lora: {path: c}}\n", 3, "and 'lora' as well"},
    {LINEAR "models:\n  - model: {model: a, lora: b+c}\n", 3, "and 'lora' as well"},
    {LINEAR "models:\n  - model:\n      model: a\n      override_architecture: [X]\n", 5,
     "'override_architecture' needs a text"},
    {LINEAR "input_model_parameters: {a: 1}\n" ONE, 2, "mergekit no longer has it"},
    {"experts: []\nbase_model: a\n", 1, "it is for mergekit-moe"},
    {SLICED("- residual_weight: 1\n  sources: [{model: a, layer_range: [0, 1]}]\n"), 3,
     "'residual_weight' has no effect"},
    /* merge_method */
    {"dtype: float32\n" ONE, 1, "no 'merge_method'"},
    {"merge_method: lniear\n" ONE, 1,
     "unknown merge_method 'lniear' (did you mean 'linear'?); this version has: arcee_fusion, "},
    {ONE "merge_method: task-arithmetic\n", 5, "did you mean 'task_arithmetic'?"},
    {"merge_method:\n" ONE, 1, "'merge_method' has no value"},
    {ONE "merge_method: ~\n", 5, "'merge_method' has no value"},
    {BYOM(""), 1, "merge_method 'byom_lora' needs 'rank' in 'parameters' at the top level"},
    {BYOM("parameters: {rank: 2.5}\n"), 2, "must be a whole number"},
    {BYOM("parameters: {rank: 2}\nexclude: [x]\n"), 3, "'exclude' has no meaning for merge_method"},
    {BYOM("parameters: {rank: 2}\n") "- model: y/a\n", 5, "two models are the task 'a'"},
    {BYOM("parameters: {rank: 2}\n") "- model: y/weft_b\n", 5, "a name that weft uses itself"},
    {"merge_method: tiess\n" ONE, 1,
     "unknown merge_method 'tiess' (did you mean 'ties'?); this version has: arcee_fusion, "},
    {"merge_method: dare-ties\n" ONE, 1, "did you mean 'dare_ties'?"},
    {"merge_method: consensus_ta\n" ONE, 1, "unknown merge_method 'consensus_ta'; this version "},
    {"merge_method: {a: b}\n" ONE, 1, "'merge_method' needs a text, not a map"},
    {"merge_method: ''\n" ONE, 1, "'merge_method' is an empty text"},
    /* models */
    {"\n\n" LINEAR, 3, "no 'models'"},
    {LINEAR "models:\n", 2, "'models' has no value"},
    {LINEAR "models: []\n", 2, "'models' is an empty list"},
    {LINEAR "models: {model: a}\n", 2, "'models' needs a list"},
    {LINEAR "models: a\n", 2, "'models' needs a list"},
    {LINEAR "models:\n  - a\n", 3, "write '- model: a'"},
    {LINEAR "models:\n  - model: a\n    parameters: {weight: 1}\n  - [b]\n", 5, "not a list"},
    {LINEAR "models:\n  - ~\n", 3, "not nothing"},
    {LINEAR "models:\n  - parameters: {weight: 1}\n", 3, "no 'model'"},
    {LINEAR "models:\n  -\n    parameters: {weight: 1}\n    model:\n", 5, "'model' has no value"},
    {LINEAR "models:\n  - model: [a]\n", 3, "'model' needs one model, not a list"},
    {LINEAR "models:\n  - model: ''\n", 3, "'model' is an empty text"},
    {LINEAR "models:\n  - model: \"a\\0b\"\n", 3, "NUL character"},
    {LINEAR "models:\n  - model: a+b+c\n", 3, "more than one '+'"},
    {LINEAR "models:\n  - model: {}\n", 3, "no 'path'"},
    {LINEAR "models:\n  - model:\n      path: a\n      revison: b\n", 5,
     "unknown key 'revison' (did you mean 'revision'?)"},
    {LINEAR "models:\n  - model: {path: a@x, revision: b}\n", 3, "hold no '@'"},
    {LINEAR "models:\n  - model: {model: {model: a}}\n", 3, "unknown key 'model'"},
    {LINEAR "models:\n  - model: a\n    name: a/b\n", 4, "no '/' and no '..'"},
    {LINEAR "models:\n  - model: a\n    name: x..y\n", 4, "no '/' and no '..'"},
    {LINEAR "models:\n  - model: a\n    name: \"a\\tb\"\n", 4, "control character (0x09)"},
    {LINEAR "parameters: {weight: 1}\nmodels:\n  - model: a\n    name: x\n  - model: b\n"
            "  - model: c\n    name: x\n",
     8, "a second model with the name 'x' (first on line 5)"},
    {LINEAR "parameters: {weight: 1}\nmodels:\n  - {model: a, name: x}\n"
            "  - {model: a, name: \"x\"}\n",
     5, "(first on line 4)"},
    {"merge_method: passthrough\nmodels:\n  - model: a\n  - model: b\n", 2,
     "takes exactly 1 model; here are 2"},
    /* base_model */
    {"models:\n  - model: a\nmerge_method: task_arithmetic\n", 3, "needs 'base_model'"},
    {"merge_method: task_arithmetic\nbase_model: b\nmodels:\n  - model: b\n", 3,
     "at least 1 model besides the base; here are 0"},
    {"merge_method: task_arithmetic\nbase_model: [b]\n" ONE, 2, "not a list"},
    {"base_model:\nmerge_method: task_arithmetic\n" ONE, 2, "needs 'base_model'"},
    {LINEAR "base_model: ~\ninclude: a\n" ONE, 3, "'include' needs 'base_model'"},
    {"merge_method: ties\n" ONE, 1, "merge_method 'ties' needs 'base_model'"},
    /* how many models */
    {SLERP "models:\n  - model: b\n", 4,
     "takes exactly 1 model besides the base; here are 0 ('b' on line 5 is the base itself)"},
    {SLERP "models: [{model: a}, {model: c}]\n", 4,
     "takes exactly 1 model besides the base; here are 2"},
    {"merge_method: model_stock\nbase_model: b\nmodels: [{model: a}]\n", 3,
     "takes at least 2 models besides the base; here are 1"},
    {NUSLERP "models: [{model: a}]\n", 3, "takes exactly 2 models; here are 1"},
    {NUSLERP "models: [{model: a}, {model: c}, {model: d}]\n", 3, "2 models; here are 3"},
    {NUSLERP "base_model: b\nmodels:\n  - model: a\n  - model: b\n", 4,
     "exactly 2 models besides the base; here are 1 ('b' on line 6 is the base itself)"},
    {NUSLERP "base_model: b\nmodels: [{model: a}, {model: b/}, {model: c}, {model: d}]\n", 4,
     "besides the base; here are 3"},
    {"merge_method: multislerp\nbase_model: b\nmodels: [{model: b}]\n", 3,
     "at least 1 model besides the base; here are 0 ('b' on line 3 is"},
    {"merge_method: multislerp\nparameters: {weight: 1}\nmodels: []\n", 3, "an empty list"},
    /* parameters */
    {LINEAR "models:\n  - model: a\n    parameters:\n      wieght: 1\n", 5,
     "unknown parameter 'wieght' (did you mean 'weight'?); merge_method 'linear' has: weight, "
     "normalize"},
    {LINEAR ONE "parameters:\n  epsilon: 1\n", 7, "unknown parameter 'epsilon'"},
    {LINEAR "models:\n  - model: a\n    parameters:\n      weight: 1\n      normalize: true\n", 6,
     "belongs in 'parameters' at the top level"},
    {LINEAR "models:\n  - model: a\n    parameters: {weight: 1}\n  - name: x\n    model: org/b\n",
     6, "model 'org/b' has no 'weight'"},
    {"merge_method: task_arithmetic\nbase_model: b\nmodels:\n  - model: b\n  - model: c\n", 5,
     "model 'c' has no 'weight'"},
    {LINEAR "base_model: b\nmodels:\n  - model: b\n", 4, "model 'b' has no 'weight'"},
    {LINEAR "parameters: [1]\n" ONE, 2, "'parameters' needs a map"},
    {LINEAR "models:\n  - model: a\n    parameters: {weight: 1}\n    name: [a]\n", 5,
     "'name' needs a text, not a list"},
    /* numbers */
    {WEIGHT("x"), 5, "'weight' needs a finite number, not 'x'"},
    {WEIGHT("'0.5x'"), 5, "'weight' needs a finite number, not '0.5x'"},
    {WEIGHT("'0x10'"), 5, "needs a finite number, not '0x10'"},
    {WEIGHT("' '"), 5, "needs a finite number"},
    {WEIGHT("'nan'"), 5, "needs a finite number"},
    {WEIGHT("'1e999'"), 5, "needs a finite number"},
    {WEIGHT("'~'"), 5, "needs a finite number"},
    {LINEAR "parameters: {normalize: '2'}\n" ONE, 2, "'normalize' needs true or false, not '2'"},
    {"merge_method: task_arithmetic\nbase_model: b\nparameters: {density: '1.5'}\n" ONE, 3,
     "'density' is 1.5; it must be from 0 to 1"},
    {WEIGHT("'true'"), 5, "write true without quotes"},
    {LINEAR "parameters: {normalize: 'false'}\n" ONE, 2, "write false without quotes"},
    {WEIGHT(".nan"), 5, "needs a finite number, not '.nan'"},
    {WEIGHT("NaN"), 5, "needs a finite number"},
    {WEIGHT("-.inf"), 5, "needs a finite number"},
    {WEIGHT("1e400"), 5, "needs a finite number"},
    {WEIGHT("1/3"), 5, "needs a finite number"},
    {WEIGHT("1,5"), 5, "needs a finite number"},
    {WEIGHT("~"), 3, "model 'a' has no 'weight'"},
    {LINEAR "models:\n  - model: a\n    parameters:\n", 3, "model 'a' has no 'weight'"},
    {LINEAR ONE "parameters: {wieght: ~}\n", 6, "unknown parameter 'wieght'"},
    {WEIGHT("''"), 5, "needs a finite number"},
    {WEIGHT("{a: 1}"), 5, "unknown key 'a' in an entry of 'weight'"},
    {LINEAR "parameters: {normalize: 2}\n" ONE, 2, "'normalize' needs true or false, not '2'"},
    {LINEAR "parameters: {normalize: 0.5}\n" ONE, 2, "'normalize' needs true or false"},
    {LINEAR "parameters: {normalize: maybe}\n" ONE, 2, "'normalize' needs true or false"},
    {"merge_method: task_arithmetic\nbase_model: b\nparameters: {density: 1.5}\n" ONE, 3,
     "'density' is 1.5; it must be from 0 to 1"},
    {"merge_method: task_arithmetic\nbase_model: b\nparameters: {density: -1e-9}\n" ONE, 3,
     "'density' is -1e-09; it must be from 0 to 1"},
    /* words */
    {TIES "parameters: {scope: tensr}\n" ONE, 3,
     "'scope' is 'tensr' (did you mean 'tensor'?); it must be row, tensor or model"},
    {TIES "parameters:\n  scope: layer\n" ONE, 4,
     "'scope' is 'layer'; it must be row, tensor or model"},
    {TIES "parameters: {scope: Tensor}\n" ONE, 3, "it must be row, tensor or model"},
    {TIES "parameters: {scope: 1}\n" ONE, 3, "'scope' is '1'; it must be"},
    {TIES "parameters: {scope: true}\n" ONE, 3, "'scope' is 'true'; it must be"},
    {TIES "parameters: {scope: ''}\n" ONE, 3, "'scope' is ''; it must be"},
    {TIES "parameters: {scope: [row]}\n" ONE, 3, "needs one word, not a list"},
    {TIES "parameters: {scope: {a: row}}\n" ONE, 3, "unknown key 'a' in an entry of 'scope'"},
    {TIES "parameters: {ties: exactly}\n" ONE, 3, "it must be inclusive or exact"},
    {TIES "parameters: {ties: 0}\n" ONE, 3, "'ties' is '0'; it must be inclusive or exact"},
    {TIES "scope: row\n" ONE, 3, "'scope' is a parameter of 'ties': it belongs under"},
    {TIES "models:\n  - model: a\n    parameters: {weight: 1, scope: row}\n", 5,
     "'scope' concerns the whole merge"},
    {CRUMBS "parameters: {ties: exact}\n" ONE, 3, "unknown parameter 'ties'"},
    {LINEAR "parameters: {scope: row}\n" ONE, 2, "unknown parameter 'scope'"},
    /* the two ways to give a band */
    {CRUMBS "parameters:\n  density: 0.9\n  low: 0.1\n  high: 0.9\n" ONE, 5,
     "'low' and 'density' say the same thing in two ways"},
    {CRUMBS "parameters:\n  high: 0.9\n  gamma: 0.01\n" ONE, 5, "'high' and 'gamma' say"},
    {CRUMBS "models:\n  - model: a\n    parameters: {weight: 1, low: 0.1, density: 0}\n", 5,
     "'low' and 'density' say"},
    {CRUMBS "parameters: {low: 0.85}\n" ONE, 3, "'low' needs 'high' as well"},
    {CRUMBS "models:\n  - model: a\n    parameters:\n      weight: 1\n      high: 0.85\n", 7,
     "'high' needs 'low' as well"},
    {CRUMBS "parameters: {low: ~, high: 1}\n" ONE, 3, "'high' needs 'low' as well"},
    {CRUMBS "parameters: {low: 0.9, high: 0.8}\n" ONE, 3,
     "'low' is greater than 'high' for model 'a'"},
    {CRUMBS "parameters: {low: 0.1, high: 0.2}\nmodels:\n  - model: a\n    parameters:\n"
            "      weight: 1\n      low: 0.3\n",
     8, "'low' is greater than 'high' for model 'a'"},
    {CRUMBS "parameters: {low: -0.1, high: 0.2}\n" ONE, 3, "'low' is -0.1; it must be from 0 to"},
    {CRUMBS "parameters: {low: 0.1, high: 1.5}\n" ONE, 3, "'high' is 1.5; it must be from 0 to"},
    {TIES "parameters: {low: 0.1, high: 0.2}\n" ONE, 3, "unknown parameter 'low'"},
    /* what mergekit takes and ignores */
    {"merge_method: sce\nbase_model: b\n" ONE, 6, "unknown parameter 'weight'"},
    {"merge_method: linear\nparameters: {int8_mask: true}\n" ONE, 2, "parameter 'int8_mask'"},
    {SLERP "models:\n  - model: a\n    parameters: {t: 0.5}\n", 6, "'t' concerns the whole"},
    {"merge_method: slerp\nbase_model: b\nmodels: [{model: a}]\n", 1,
     "merge_method 'slerp' needs 't' in 'parameters' at the top level"},
    /* types */
    {LINEAR ONE "dtype: bflaot16\n", 6, "'dtype' is 'bflaot16' (did you mean 'bfloat16'?)"},
    {LINEAR ONE "dtype: int64\n", 6, "it must be float32, float16, bfloat16 or float64"},
    {LINEAR ONE "dtype: float16\nout_dtype: f8\n", 7, "'out_dtype' is 'f8'"},
    {LINEAR ONE "dtype: [float32]\n", 6, "'dtype' needs a text, not a list"},
    /* seed */
    {LINEAR ONE "seed: -1\n", 6, "whole number from 0 to 18446744073709551615, not '-1'"},
    {LINEAR ONE "seed: 18446744073709551616\n", 6, "'seed' needs a whole number"},
    {LINEAR ONE "seed: 1.0\n", 6, "'seed' needs a whole number"},
    {LINEAR ONE "seed: '1'\n", 6, "not a quoted text"},
    {LINEAR ONE "seed: [1]\n", 6, "not a list"},
    /* include, exclude */
    {LINEAR ONE "include: a\n", 6, "'include' needs 'base_model'"},
    {LINEAR ONE "exclude: []\n", 6, "'exclude' is an empty list"},
    {LINEAR ONE "exclude: {a: b}\n", 6, "needs a list of patterns, not a map"},
    {LINEAR ONE "exclude:\n  - a\n  - ''\n", 8, "'exclude' is an empty text"},
    {LINEAR ONE "exclude:\n  - a\n  - [b]\n", 8, "needs a text, not a list"},
    {LINEAR ONE "exclude: 'a[0-9'\n", 6, "has a '[' without its ']': 'a[0-9'"},
    {LINEAR ONE "base_model: b\ninclude: ['a', '[']\n", 7, "without its ']'"},
    /* the rest */
    {LINEAR ONE "non_finite: ignore\n", 6, "it must be error or allow"},
    {LINEAR ONE "allow_mixed: 1\n", 6, "must be true or false"},
    {LINEAR ONE "allow_mixed: 'true'\n", 6, "must be true or false"},
    {LINEAR ONE "name: ''\n", 6, "'name' is an empty text"},
    /* duplicates */
    {LINEAR ONE LINEAR, 6, "merge_method"},
    {LINEAR "models:\n  - model: a\n    parameters:\n      weight: 1\n      weight: 2\n", 6,
     "weight"},
};

static void wrong_recipes_are_refused_with_their_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct recipe_test t;
        char start[64];
        int s = parse_as(&t, "dir/recipe.yaml", wrong[i].text, false);
        int n = snprintf(start, sizeof start, "dir/recipe.yaml:%d: ", wrong[i].line);
        if (s != WF_USAGE || strncmp(t.e.text, start, (size_t)n) != 0 ||
            !strstr(t.e.text, wrong[i].says))
            fail_msg("status %d, '%s'; wanted '%s' and '%s' for\n%s", s, t.e.text, start,
                     wrong[i].says, wrong[i].text);
        assert_int_equal(wf_err_status(&t.e), WF_USAGE);
        assert_null(strchr(t.e.text, '\n'));
        wf_arena_destroy(&t.a);
    }
}

static void more_models_than_the_engine_takes_are_refused(void **state)
{
    (void)state;
    struct recipe_test t;
    static char text[64 + 1025 * 16];
    size_t n = (size_t)snprintf(text, sizeof text, LINEAR "parameters: {weight: 1}\nmodels:\n");
    for (int i = 0; i < 1024; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "  - model: a\n");
    accept(&t, text, false);
    assert_int_equal(t.r.n_models, 1024);
    wf_arena_destroy(&t.a);
    snprintf(text + n, sizeof text - n, "  - model: a\n");
    assert_int_equal(parse_as(&t, "r", text, false), WF_USAGE);
    assert_non_null(strstr(t.e.text, "1025 entries; at most 1024"));
    wf_arena_destroy(&t.a);
}

/* --- values by tensor, layer and level ---------------------------------------------------------
 */

static double value_at(const struct recipe_test *t, const char *option, int model,
                       const char *tensor, const char *input, double x, size_t slice)
{
    struct wf_position at = {.tensor = tensor, .input = input, .t = x, .slice = slice};
    return wf_recipe_value(&t->r, (size_t)wf_method_option(t->r.method, option), model, &at);
}

static void gradients_run_over_the_positions(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: slerp\nbase_model: b\nmodels:\n- model: a\n"
           "parameters: {t: [0, 0.5, 0.3, 0.7, 1]}\n",
           false);
    static const double cases[][2] = {{0, 0},       {0.125, 0.25}, {0.25, 0.5}, {0.5, 0.3},
                                      {0.625, 0.5}, {0.75, 0.7},   {1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_float_equal(value_at(&t, "t", -1, "x", "x", cases[i][0], 0), cases[i][1], 1e-15);
    wf_arena_destroy(&t.a);
}

static void the_first_filter_that_matches_decides_then_weaker_levels(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: linear\nslices:\n- parameters: {weight: {filter: slice, value: 7}}\n"
           "  sources:\n  - model: a\n    layer_range: [0, 2]\n    parameters:\n      weight:\n"
           "      - {filter: layers.1, value: 1}\n      - {filter: 'm*.q', value: [2, 4]}\n"
           "      - {filter: '*', value: 3}\n"
           "  - {model: b, layer_range: [2, 4]}\n"
           "parameters:\n  weight: [{filter: top, value: 9}, {value: 8}]\n"
           "  normalize: {filter: mlp, value: false}\n",
           false);
    assert_float_equal(value_at(&t, "weight", 0, "out", "layers.1.x", 0, 0), 1, 0);
    assert_float_equal(value_at(&t, "weight", 0, "out", "layers.12.q", 0, 0), 1, 0); /* a part */
    assert_float_equal(value_at(&t, "weight", 0, "out", "m.layers.2.q", 0.5, 0), 3, 0);
    assert_float_equal(value_at(&t, "weight", 0, "layers.1", "z", 0, 0), 3, 0); /* input's name */
    assert_float_equal(value_at(&t, "weight", 1, "a.slice.b", "z", 0, 0), 7, 0);
    assert_float_equal(value_at(&t, "weight", 1, "top", "slice", 0, 0), 9, 0);
    assert_float_equal(value_at(&t, "weight", 1, "z", "top", 0, 0), 8, 0);
    assert_float_equal(value_at(&t, "normalize", -1, "x.mlp", "", 0, 0), 0, 0);
    assert_float_equal(value_at(&t, "normalize", -1, "x.mlq", "", 0, 0), 1, 0); /* the default */
    wf_arena_destroy(&t.a);
}

static void modules_stand_between_slices_and_the_top_level(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: linear\nmodules:\n  u:\n    models: [{model: a}, {model: b}]\n"
           "    parameters: {weight: 5}\n"
           "  v:\n    slices:\n    - sources: [{model: a, layer_range: [0, 1]}]\n"
           "      parameters: {weight: 6}\n    - sources: [{model: b, layer_range: [0, 1]}]\n"
           "parameters: {weight: 4}\n",
           false);
    assert_int_equal(t.r.n_modules, 2);
    assert_int_equal(t.r.n_slices, 3);
    assert_int_equal(t.r.n_models, 4);
    assert_true(t.r.is_sliced);
    static const double expected[] = {5, 6, 4};
    for (size_t i = 0; i < 3; i++)
        assert_float_equal(value_at(&t, "weight", (int)t.r.slices[i].first, "x", "x", 0, i),
                           expected[i], 0);
    wf_arena_destroy(&t.a);
}

static void a_base_that_a_slice_does_not_list_joins_it(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: ties\nslices:\n- base_model: c\n  sources:\n"
           "  - {model: a, layer_range: [2, 4]}\n  - {model: b, layer_range: [2, 4]}\n"
           "- base_model: a\n  sources:\n  - {model: b, layer_range: [0, 1]}\n"
           "  - {model: a, layer_range: [4, 5]}\n  - {model: a, layer_range: [6, 7]}\n"
           "parameters: {weight: 1}\n",
           false);
    assert_int_equal(t.r.n_models, 6);
    assert_int_equal(t.r.slices[0].n, 3);
    assert_true(t.r.models[2].is_base);
    assert_int_equal(t.r.models[2].layer_from, 2);
    assert_false(t.r.models[3].is_base);
    assert_true(t.r.models[4].is_base);
    assert_false(t.r.models[5].is_base); /* other layers of the base are an input */
    assert_false(t.r.has_base);
    wf_arena_destroy(&t.a);
}

/* --- compat: what mergekit ignores ------------------------------------------------------------ */

static void compat_ignores_what_mergekit_ignores(void **state)
{
    (void)state;
    static const char *const ignored[] = {
        LINEAR ONE "zebra: 1\n",
        LINEAR ONE "model: a\n",
        LINEAR "models:\n  - model: a\n    wieght: 3\n    parameters: {weight: 1, density: 0.5}\n",
        LINEAR "models:\n  - model: a\n    layer_range: [0, 1]\n    parameters: {weight: 1}\n",
        LINEAR "normalize: false\n" ONE,
        LINEAR "models:\n  - model: a\n    parameters: {weight: 1, normalize: [1, 2]}\n",
        LINEAR "parameters: {int8_mask: true, scope: 3, low: 2}\n" ONE,
        LINEAR "models:\n  - model: a\n    parameters: {weight: 1, epsilon: 0.1, gamma: x}\n",
    };
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        struct recipe_test t;
        assert_int_equal(parse_as(&t, "r", ignored[i], false), WF_USAGE);
        wf_arena_destroy(&t.a);
        accept(&t, ignored[i], true);
        assert_int_equal(t.r.n_models, 1);
        assert_int_equal(t.r.models[0].n_values, 1);
        assert_true(t.r.models[0].values[0].cases[0].numbers[0] == 1);
        assert_int_equal(t.r.n_values, 0);
        assert_int_equal(t.r.dtype, WF_DTYPE_NONE);
        assert_false(t.r.has_base);
        wf_arena_destroy(&t.a);
    }
}

static void compat_still_refuses_what_would_change_the_result(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "slices: []\n" LINEAR,
        LINEAR ONE "tokenizer_source: union\ntokenizer: {}\n",
        WEIGHT("[]"),
        WEIGHT("x"),
        WEIGHT("~"),
        "merge_method: liner\n" ONE,
        LINEAR "models:\n  - model: a\n",
        LINEAR "models:\n  - model: a\n    parameters: {wieght: 1}\n",
        TIES "parameters: {scope: layer}\n" ONE,
        CRUMBS "parameters: {low: 0.1, high: 0.9, density: 0.5}\n" ONE,
        CRUMBS "parameters: {low: 0.1}\n" ONE,
        NUSLERP "base_model: b\nmodels: [{model: a}, {model: b}]\n",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct recipe_test t;
        assert_int_equal(parse_as(&t, "r", refused[i], true), WF_USAGE);
        wf_arena_destroy(&t.a);
    }
}

/* --- what is accepted --------------------------------------------------------------------------
 */

static void every_key_lands_in_its_field(void **state)
{
    (void)state;
    struct recipe_test t;
    static const char text[] = "merge_method: task_arithmetic\n"
                               "base_model: org/base@v1\n"
                               "models:\n"
                               "  - model: org/base@v1\n"
                               "  - model: runs/math.safetensors\n"
                               "    parameters:\n"
                               "      weight: 0.75\n"
                               "  - model: {path: org/code, revision: main}\n"
                               "    name: coder\n"
                               "parameters: {weight: -2, lambda: 1e-5, normalize: true}\n"
                               "dtype: float32\n"
                               "out_dtype: torch.bfloat16\n"
                               "seed: 18446744073709551615\n"
                               "include: 'model.*'\n"
                               "exclude: [a, '*.bias', 7]\n"
                               "name: my merge\n"
                               "non_finite: allow\n"
                               "allow_mixed: yes\n";
    accept(&t, text, false);
    const struct wf_recipe *r = &t.r;
    assert_string_equal(r->path, "recipe.yaml");
    assert_string_equal(r->folder, ".");
    assert_int_equal(r->text_n, sizeof text - 1);
    assert_memory_equal(r->text, text, sizeof text);
    assert_false(r->is_json);
    assert_string_equal(r->method->name, "task_arithmetic");
    assert_int_equal(r->method_line, 1);
    assert_true(r->has_base);
    assert_string_equal(r->base.model, "org/base@v1");
    assert_int_equal(r->base.line, 2);
    assert_int_equal(r->n_models, 3);
    assert_true(r->models[0].is_base);
    assert_string_equal(r->models[0].task, "base");
    assert_false(r->models[1].is_base);
    assert_string_equal(r->models[1].task, "math");
    assert_int_equal(r->models[1].line, 5);
    assert_string_equal(r->models[2].ref.model, "org/code@main");
    assert_string_equal(r->models[2].task, "coder");
    assert_int_equal(r->n_values, 3);
    assert_int_equal(r->values[1].line, 10);
    assert_int_equal(r->dtype, WF_BF16);
    assert_true(r->seed == UINT64_MAX);
    assert_string_equal(r->include[0], "model.*");
    assert_null(r->include[1]);
    assert_string_equal(r->exclude[1], "*.bias");
    assert_string_equal(r->exclude[2], "7");
    assert_null(r->exclude[3]);
    assert_string_equal(r->name, "my merge");
    assert_true(r->allow_non_finite);
    assert_true(r->allow_mixed);
    wf_arena_destroy(&t.a);
}

static void has_defaults(struct recipe_test *t)
{
    assert_int_equal(t->r.dtype, WF_DTYPE_NONE);
    assert_true(t->r.seed == 0);
    assert_null(t->r.include);
    assert_null(t->r.exclude);
    assert_null(t->r.name);
    assert_false(t->r.has_base);
    assert_false(t->r.allow_non_finite);
    assert_false(t->r.allow_mixed);
    assert_int_equal(t->r.n_values, 0);
    assert_int_equal(t->r.n_models, 1);
    assert_string_equal(t->r.models[0].task, "a");
    assert_int_equal(t->r.models[0].n_values, 1);
    assert_true(t->r.models[0].values[0].cases[0].numbers[0] == 1);
}

static void absent_keys_have_their_defaults(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t, LINEAR ONE, false);
    has_defaults(&t);
    wf_arena_destroy(&t.a);
}

/* mergekit's schema lets every optional key be null; its own exports are full of them. */
static void task_deltas_are_read(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t, LINEAR ONE "task_deltas: {density: 0.10}\n", false);
    assert_true(t.r.deltas.wanted && !t.r.deltas.by_tensor && !t.r.deltas.add);
    assert_true(t.r.deltas.density == 0.1);
    assert_string_equal(t.r.deltas.density_text, "0.10");
    assert_string_equal(t.r.deltas.dir, "deltas");
    wf_arena_destroy(&t.a);
    accept(&t, LINEAR ONE "task_deltas: {density: 1, scope: tensor, store: add, dir: a/b.c//}\n",
           false);
    assert_true(t.r.deltas.by_tensor && t.r.deltas.add);
    assert_string_equal(t.r.deltas.density_text, "1");
    assert_string_equal(t.r.deltas.dir, "a/b.c");
    wf_arena_destroy(&t.a);
    accept(&t, LINEAR ONE, false);
    assert_false(t.r.deltas.wanted);
    wf_arena_destroy(&t.a);
    /* the base's own entry has no delta, and its name is free */
    accept(&t,
           "merge_method: task_arithmetic\nbase_model: x/a\nmodels:\n  - model: x/a\n"
           "  - model: y/a\n    parameters: {weight: 1}\ntask_deltas: {density: 0}\n",
           false);
    wf_arena_destroy(&t.a);
}

static void null_is_the_same_as_absent(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "dtype:\n",
        "dtype: ~\nout_dtype: null\n",
        "base_model: null\n",
        "tokenizer_source: null\n",
        "slices: null\nmodules: Null\ntokenizer: ~\nchat_template:\n",
        "coefficients:\ntask_deltas:\n",
        "parameters:\n",
        "parameters: {weight: ~, normalize: null}\n",
        "seed: ~\nname:\ninclude:\nexclude: ~\nnon_finite:\nallow_mixed: null\n",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (int compat = 0; compat < 2; compat++) {
            struct recipe_test t;
            char text[512];
            snprintf(text, sizeof text, LINEAR ONE "%s", keys[i]);
            accept(&t, text, compat);
            has_defaults(&t);
            wf_arena_destroy(&t.a);
        }
    }
    struct recipe_test t;
    accept(&t, LINEAR "models: [{model: a, name: ~, parameters: {weight: 1, normalize: ~}}]\n",
           false);
    has_defaults(&t);
    wf_arena_destroy(&t.a);
    accept(&t,
           LINEAR "parameters: {weight: 2}\nmodels:\n  - model: a\n    parameters:\n"
                  "  - model: b\n    parameters: {weight: ~}\n",
           false);
    assert_int_equal(t.r.models[0].n_values + t.r.models[1].n_values, 0);
    assert_true(wf_recipe_value(&t.r, (size_t)wf_method_option(t.r.method, "weight"), 1, NULL) ==
                2);
    wf_arena_destroy(&t.a);
}

static void derived_names_may_be_equal(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           LINEAR "parameters: {weight: 1}\nmodels:\n  - model: p/a\n  - model: q/a\n"
                  "  - {model: r/b, name: a}\n",
           false);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(t.r.models[i].task, "a");
    wf_arena_destroy(&t.a);
}

static void the_nearest_level_gives_the_value(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: task_arithmetic\nbase_model: b\nmodels:\n"
           "  - model: x\n    parameters: {weight: 3, density: 0.5}\n"
           "  - model: x\n"
           "parameters: {weight: 7, lambda: 0.25}\n",
           false);
    const struct wf_method *m = t.r.method;
    size_t weight = (size_t)wf_method_option(m, "weight");
    size_t density = (size_t)wf_method_option(m, "density");
    size_t lambda = (size_t)wf_method_option(m, "lambda");
    size_t normalize = (size_t)wf_method_option(m, "normalize");
    assert_true(wf_recipe_value(&t.r, weight, 0, NULL) == 3);
    assert_true(wf_recipe_value(&t.r, weight, 1, NULL) == 7);
    assert_true(wf_recipe_value(&t.r, density, 0, NULL) == 0.5);
    assert_true(wf_recipe_value(&t.r, density, 1, NULL) == 1);
    assert_true(wf_recipe_value(&t.r, lambda, -1, NULL) == 0.25);
    assert_true(wf_recipe_value(&t.r, normalize, -1, NULL) == 0);
    /* The same model twice counts twice. */
    assert_int_equal(t.r.n_models, 2);
    wf_arena_destroy(&t.a);
}

static double value_of(const struct recipe_test *t, const char *option, int model)
{
    return wf_recipe_value(&t->r, (size_t)wf_method_option(t->r.method, option), model, NULL);
}

static void words_are_read_plain_and_in_quotes(void **state)
{
    (void)state;
    static const struct {
        const char *parameters;
        double scope, ties;
    } forms[] = {
        {"{}", 1, 0},
        {"{scope: row, ties: exact}", 0, 1},
        {"{scope: 'tensor', ties: \"inclusive\"}", 1, 0},
        {"{scope: model, ties: ~}", 2, 0},
        {"{\"scope\": \"model\", \"ties\": \"exact\"}", 2, 1},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct recipe_test t;
        char text[256];
        snprintf(text, sizeof text, TIES "parameters: %s\n" ONE, forms[i].parameters);
        accept(&t, text, false);
        assert_true(value_of(&t, "scope", -1) == forms[i].scope);
        assert_true(value_of(&t, "ties", -1) == forms[i].ties);
        wf_arena_destroy(&t.a);
    }
}

static void what_may_be_left_out_is_nan(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t, CRUMBS ONE, false);
    assert_true(isnan(value_of(&t, "low", 0)) && isnan(value_of(&t, "high", 0)));
    assert_true(value_of(&t, "density", 0) == 1);
    wf_arena_destroy(&t.a);
}

/* `low` and `high` at the top level are not for an entry that says `density` or `gamma`. */
static void the_nearest_way_to_give_a_band_holds(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           CRUMBS "parameters: {weight: 1, low: 0.85, high: 0.993}\nmodels:\n"
                  "  - {model: x}\n"
                  "  - {model: x, parameters: {low: 0.5}}\n"
                  "  - {model: x, parameters: {density: 0.25}}\n"
                  "  - {model: x, parameters: {gamma: 0.5}}\n"
                  "  - {model: x, parameters: {density: ~}}\n"
                  "  - {model: b, parameters: {high: 0}}\n",
           false);
    static const struct {
        double low, high, density; /* 2: none */
    } wanted[] = {{0.85, 0.993, 1}, {0.5, 0.993, 1}, {2, 2, 0.25}, {2, 2, 1}, {0.85, 0.993, 1}};
    for (int i = 0; i < 5; i++) {
        double low = value_of(&t, "low", i), high = value_of(&t, "high", i);
        assert_true((isnan(low) ? 2 : low) == wanted[i].low);
        assert_true((isnan(high) ? 2 : high) == wanted[i].high);
        assert_true(value_of(&t, "density", i) == wanted[i].density);
    }
    wf_arena_destroy(&t.a);
    accept(&t,
           CRUMBS "parameters: {weight: 1, density: 0.9, gamma: 0.02}\nmodels:\n"
                  "  - {model: x, parameters: {low: 0, high: 0}}\n",
           false);
    assert_true(value_of(&t, "low", 0) == 0 && value_of(&t, "high", 0) == 0);
    wf_arena_destroy(&t.a);
}

static void numbers_and_booleans_are_read_as_in_mergekit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double number;
    } forms[] = {
        {WEIGHT("1"), 1},         {WEIGHT("-0.5"), -0.5}, {WEIGHT("+.25"), 0.25},
        {WEIGHT("1."), 1},        {WEIGHT("1e-5"), 1e-5}, {WEIGHT("2E+2"), 200},
        {WEIGHT("true"), 1},      {WEIGHT("false"), 0},   {WEIGHT("True"), 1},
        {WEIGHT("1e308"), 1e308}, {WEIGHT("1e-400"), 0},  {WEIGHT("0.1 # x"), 0.1},
        {WEIGHT("&w 3"), 3},      {WEIGHT("0.30"), 0.3},  {WEIGHT("\"0.5\""), 0.5},
        {WEIGHT("'1e-5'"), 1e-5}, {WEIGHT("'-2'"), -2},   {WEIGHT("'010'"), 10},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct recipe_test t;
        accept(&t, forms[i].text, false);
        if (t.r.models[0].values[0].cases[0].numbers[0] != forms[i].number)
            fail_msg("%s gives %g", forms[i].text, t.r.models[0].values[0].cases[0].numbers[0]);
        wf_arena_destroy(&t.a);
    }
    static const char *const truths[] = {"1", "true", "yes", "on", "1.0", "'1'"};
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        struct recipe_test t;
        char text[256];
        snprintf(text, sizeof text, LINEAR "parameters: {normalize: %s}\n" ONE, truths[i]);
        accept(&t, text, false);
        assert_true(t.r.values[0].cases[0].numbers[0] == 1);
        wf_arena_destroy(&t.a);
    }
}

static void dtype_is_the_stored_type_and_out_dtype_wins(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        enum wf_dtype dtype;
    } types[] = {
        {"dtype: float32\n", WF_F32},
        {"dtype: torch.float16\n", WF_F16},
        {"out_dtype: bfloat16\n", WF_BF16},
        {"out_dtype: float64\ndtype: float16\n", WF_F64},
        {"dtype: float16\nout_dtype: float32\n", WF_F32},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct recipe_test t;
        char text[256];
        snprintf(text, sizeof text, LINEAR ONE "%s", types[i].keys);
        accept(&t, text, false);
        assert_int_equal(t.r.dtype, types[i].dtype);
        wf_arena_destroy(&t.a);
    }
}

static void reference_maps_of_mergekit_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *map, *model;
    } maps[] = {
        {"{path: org/a}", "org/a"},
        {"{path: org/a, revision: null}", "org/a"},
        {"{path: org/a, revision: v1}", "org/a@v1"},
        {"{path: a+b+c}", "a+b+c"}, /* letter by letter */
        {"{model: org/a@v1}", "org/a@v1"},
        {"{model: {path: org/a, revision: v1}, lora: null, override_architecture: ~}", "org/a@v1"},
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        struct recipe_test t;
        char text[256];
        snprintf(text, sizeof text, LINEAR "models: [{model: %s, parameters: {weight: 1}}]\n",
                 maps[i].map);
        accept(&t, text, false);
        assert_string_equal(t.r.models[0].ref.model, maps[i].model);
        assert_null(t.r.models[0].ref.adapter);
        assert_int_equal(t.r.models[0].ref.line, 2);
        wf_arena_destroy(&t.a);
    }
}

static void an_adapter_on_the_base_is_not_the_base(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t,
           "merge_method: task_arithmetic\nbase_model: runs/base\nmodels:\n"
           "  - model: runs/base+runs/one\n    parameters: {weight: 1}\n"
           "  - model: runs/base\n",
           false);
    assert_false(t.r.models[0].is_base);
    assert_string_equal(t.r.models[0].ref.adapter, "runs/one");
    assert_string_equal(t.r.models[0].task, "one");
    assert_true(t.r.models[1].is_base);
    wf_arena_destroy(&t.a);
}

static void the_base_may_stand_among_the_models(void **state)
{
    (void)state;
    struct recipe_test t;
    /* Spelled with a slash, and with parameters that have no effect. */
    accept(&t,
           "merge_method: task_arithmetic\nbase_model: runs/base\nmodels:\n"
           "  - model: runs/base/\n    parameters: {weight: 1}\n"
           "  - model: runs/base2\n    parameters: {weight: 1}\n",
           false);
    assert_true(t.r.models[0].is_base);
    assert_false(t.r.models[1].is_base);
    wf_arena_destroy(&t.a);
    /* linear: an input like any other. */
    accept(&t, LINEAR "base_model: a\n" ONE, false);
    assert_true(t.r.models[0].is_base);
    wf_arena_destroy(&t.a);
    /* mergekit's way of writing slerp: both in the list, the base without parameters. */
    accept(&t, SLERP "models: [{model: b}, {model: c}]\n", false);
    wf_arena_destroy(&t.a);
}

static void an_optional_base_is_the_base_when_it_is_given(void **state)
{
    (void)state;
    struct recipe_test t;
    accept(&t, NUSLERP "models: [{model: a}, {model: c}]\n", false);
    assert_false(t.r.has_base);
    wf_arena_destroy(&t.a);
    accept(&t, NUSLERP "base_model: b\nmodels: [{model: a}, {model: c}]\n", false);
    assert_true(t.r.has_base);
    wf_arena_destroy(&t.a);
    accept(&t, NUSLERP "base_model: b\nmodels: [{model: a}, {model: b}, {model: c}]\n", false);
    wf_arena_destroy(&t.a);
    /* Listed among the models of multislerp it needs no weight. */
    accept(&t,
           "merge_method: multislerp\nbase_model: b\nmodels:\n  - model: b\n"
           "  - {model: a, parameters: {weight: 1}}\n",
           false);
    assert_true(t.r.models[0].is_base);
    wf_arena_destroy(&t.a);
    assert_int_equal(parse_as(&t, "r",
                              "merge_method: multislerp\nmodels:\n  - model: b\n"
                              "  - {model: a, parameters: {weight: 1}}\n",
                              false),
                     WF_USAGE);
    assert_non_null(strstr(t.e.text, "r:3: model 'b' has no 'weight'"));
    wf_arena_destroy(&t.a);
}

static void json_recipes_have_lines_too(void **state)
{
    (void)state;
    struct recipe_test t;
    assert_int_equal(parse_as(&t, "/x.json",
                              "{\n  \"merge_method\": \"linear\",\n  \"models\": [\n"
                              "    {\"model\": \"a\", \"parameters\": {\"wieght\": 1}}\n  ]\n}\n",
                              false),
                     WF_USAGE);
    assert_non_null(strstr(t.e.text, "/x.json:4: unknown parameter 'wieght'"));
    assert_true(t.r.is_json);
    assert_string_equal(t.r.folder, "/");
    wf_arena_destroy(&t.a);
}

/* As Python's json.dump writes a name outside the first 65,536 characters. */
static void json_escapes_of_python_are_read(void **state)
{
    (void)state;
    struct recipe_test t;
    static const char text[] = "\t{\n\t\"merge_method\": \"linear\",\n\t\"name\": "
                               "\"\\ud83d\\ude00 \\u00e9\",\n"
                               "\t\"models\":\t[{\"model\": \"org\\/a\", \"parameters\": "
                               "{\"weight\": 1}}]\n\t}\n\t\n";
    if (parse_as(&t, "r.json", text, false))
        fail_msg("refused: %s", t.e.text);
    assert_string_equal(t.r.name, "\xf0\x9f\x98\x80 \xc3\xa9");
    assert_string_equal(t.r.models[0].ref.model, "org/a");
    assert_int_equal(t.r.models[0].line, 4);
    assert_memory_equal(t.r.text, text, sizeof text); /* the copy in OUT is the user's own */
    wf_arena_destroy(&t.a);
}

/* --- files ---------------------------------------------------------------------------------------
 */

static void read_file(struct recipe_test *t, const char *path, int *status)
{
    *t = (struct recipe_test){0};
    *status = wf_recipe_read(&t->e, &t->a, path, false, &t->r);
}

/* Every file of a golden folder ends with `wanted`; wrong ones name themselves in one line. */
static void golden_folder(const char *folder, int wanted, int at_least)
{
    DIR *d = opendir(folder);
    if (!d)
        fail_msg("%s: not found; run from the repository's root", folder);
    int files = 0;
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.')
            continue;
        struct recipe_test t;
        char path[512];
        int s;
        snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        read_file(&t, path, &s);
        if (s != wanted || wf_err_status(&t.e) != wanted)
            fail_msg("%s: status %d, wanted %d: %s", path, s, wanted, t.e.text);
        if (wanted) {
            assert_memory_equal(t.e.text, path, strlen(path));
            assert_null(strchr(t.e.text, '\n'));
        }
        wf_arena_destroy(&t.a);
        files++;
    }
    closedir(d);
    assert_true(files >= at_least);
}

static void a_tokenizer_section_is_read(void **state)
{
    (void)state;
    struct recipe_test t;
    const char *text = LINEAR ONE "tokenizer:\n"
                                  "  source: base\n"
                                  "  pad_to_multiple_of: 64\n"
                                  "  tokens:\n"
                                  "    <a>: {source: a, force: true}\n"
                                  "    <b>: {source: {kind: zero}}\n"
                                  "    '<c>': {source: {kind: model_token, model: b, token: '7'}}\n"
                                  "    <d>: {source: {kind: model_token, model: b, token_id: 7}}\n"
                                  "    <e>: {}\n"
                                  "    <f>:\n";
    assert_int_equal(parse_as(&t, "r", text, false), WF_OK);
    const struct wf_recipe_tokenizer *k = &t.r.tokenizer;
    assert_true(k->given);
    assert_int_equal(k->source, WF_VOCAB_BASE);
    assert_int_equal(k->multiple, 64);
    assert_int_equal(k->n_tokens, 6);
    assert_string_equal(k->tokens[0].model.text, "a");
    assert_true(k->tokens[0].force);
    assert_int_equal(k->tokens[1].source, WF_ROW_ZERO);
    assert_int_equal(k->tokens[2].source, WF_ROW_MODEL_TOKEN);
    assert_string_equal(k->tokens[2].other, "7");
    assert_null(k->tokens[3].other);
    assert_int_equal(k->tokens[3].other_id, 7);
    assert_int_equal(k->tokens[4].source, WF_ROW_BY_RULE);
    assert_int_equal(k->tokens[5].source, WF_ROW_BY_RULE);
    wf_arena_destroy(&t.a);
    assert_int_equal(parse_as(&t, "r", LINEAR ONE "tokenizer: {}\n", false), WF_OK);
    assert_int_equal(t.r.tokenizer.source, WF_VOCAB_UNION);
    wf_arena_destroy(&t.a);
    assert_int_equal(parse_as(&t, "r", LINEAR ONE "tokenizer_source: b\n", false), WF_OK);
    assert_int_equal(t.r.tokenizer.source, WF_VOCAB_MODEL);
    assert_string_equal(t.r.tokenizer.model.text, "b");
    wf_arena_destroy(&t.a);
}

static void golden_wrong_recipes_are_refused(void **state)
{
    (void)state;
    golden_folder(GOLDEN "reject-2", WF_USAGE, 130);
}

static void golden_right_recipes_are_read(void **state)
{
    (void)state;
    golden_folder(GOLDEN "accept-parse", WF_OK, 17);
}

static void what_is_no_recipe_file_is_refused_in_a_line(void **state)
{
    (void)state;
    char dir[256], path[512];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/weft-recipe-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    struct recipe_test t;
    struct wf_err e = {0};
    int s;

    read_file(&t, dir, &s);
    assert_int_equal(s, WF_USAGE);
    assert_non_null(strstr(t.e.text, "a folder; a recipe is"));
    wf_arena_destroy(&t.a);

    snprintf(path, sizeof path, "%s/none.yaml", dir);
    read_file(&t, path, &s);
    assert_int_equal(s, WF_USAGE);
    assert_non_null(strstr(t.e.text, "none.yaml"));
    wf_arena_destroy(&t.a);

    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    read_file(&t, path, &s);
    assert_int_equal(s, WF_USAGE);
    wf_arena_destroy(&t.a);

    snprintf(path, sizeof path, "%s/pipe.yaml", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    read_file(&t, path, &s);
    assert_int_equal(s, WF_USAGE);
    wf_arena_destroy(&t.a);

    snprintf(path, sizeof path, "%s/large.yaml", dir);
    assert_int_equal(wf_write_small(&e, path, "a", 1), WF_OK);
    assert_int_equal(truncate(path, (16 << 20) + 1), 0);
    read_file(&t, path, &s);
    assert_int_equal(s, WF_USAGE);
    wf_arena_destroy(&t.a);

    assert_int_equal(wf_remove_tree(&e, dir), WF_OK);
}

static void existing_paths_may_hold_plus_and_at(void **state)
{
    (void)state;
    char dir[256], path[512];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/weft-recipe-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a+b@c", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/r.yaml", dir);
    static const char text[] = LINEAR "models:\n  - model: a+b@c\n    parameters: {weight: 1}\n";
    struct wf_err e = {0};
    assert_int_equal(wf_write_small(&e, path, text, sizeof text - 1), WF_OK);
    struct recipe_test t;
    int s;
    read_file(&t, path, &s);
    assert_int_equal(s, WF_OK);
    assert_string_equal(t.r.folder, dir);
    assert_string_equal(t.r.models[0].ref.model, "a+b@c");
    assert_true(t.r.models[0].ref.is_path);
    assert_string_equal(t.r.models[0].task, "a+b@c");
    wf_arena_destroy(&t.a);
    assert_int_equal(wf_remove_tree(&e, dir), WF_OK);
}

int main(void)
{
    wf_log_set_level(WF_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_recipes_are_refused_with_their_line),
        cmocka_unit_test(more_models_than_the_engine_takes_are_refused),
        cmocka_unit_test(gradients_run_over_the_positions),
        cmocka_unit_test(the_first_filter_that_matches_decides_then_weaker_levels),
        cmocka_unit_test(modules_stand_between_slices_and_the_top_level),
        cmocka_unit_test(a_base_that_a_slice_does_not_list_joins_it),
        cmocka_unit_test(compat_ignores_what_mergekit_ignores),
        cmocka_unit_test(compat_still_refuses_what_would_change_the_result),
        cmocka_unit_test(every_key_lands_in_its_field),
        cmocka_unit_test(absent_keys_have_their_defaults),
        cmocka_unit_test(task_deltas_are_read),
        cmocka_unit_test(null_is_the_same_as_absent),
        cmocka_unit_test(derived_names_may_be_equal),
        cmocka_unit_test(the_nearest_level_gives_the_value),
        cmocka_unit_test(words_are_read_plain_and_in_quotes),
        cmocka_unit_test(what_may_be_left_out_is_nan),
        cmocka_unit_test(the_nearest_way_to_give_a_band_holds),
        cmocka_unit_test(numbers_and_booleans_are_read_as_in_mergekit),
        cmocka_unit_test(dtype_is_the_stored_type_and_out_dtype_wins),
        cmocka_unit_test(reference_maps_of_mergekit_are_read),
        cmocka_unit_test(an_adapter_on_the_base_is_not_the_base),
        cmocka_unit_test(the_base_may_stand_among_the_models),
        cmocka_unit_test(an_optional_base_is_the_base_when_it_is_given),
        cmocka_unit_test(json_recipes_have_lines_too),
        cmocka_unit_test(json_escapes_of_python_are_read),
        cmocka_unit_test(a_tokenizer_section_is_read),
        cmocka_unit_test(golden_wrong_recipes_are_refused),
        cmocka_unit_test(golden_right_recipes_are_read),
        cmocka_unit_test(what_is_no_recipe_file_is_refused_in_a_line),
        cmocka_unit_test(existing_paths_may_hold_plus_and_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
