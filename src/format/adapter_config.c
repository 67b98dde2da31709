/* adapter_config.c - what adapter_config.json decides; see adapter_config.h. */
#include "adapter_config.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "../base/num.h"

#define RANK_DEFAULT 8
#define ALPHA_DEFAULT 8
#define PATTERNS_BYTES_MAX ((size_t)4 << 20) /* of all keys of one map */

/* Features that change the arithmetic, and that weft does not have. */
static const struct {
    const char *key, *what;
} refused[] = {
    {"use_dora", "DoRA (a trained magnitude for each output)"},
    {"use_qalora", "QALoRA (factors over groups of a quantised base)"},
    {"kasa_config", "KaSA (it changes the base as well)"},
    {"use_bdlora", "BD-LoRA (block-diagonal factors)"},
    {"alora_invocation_tokens", "aLoRA (active for a part of the input only)"},
    {"arrow_config", "Arrow (routes each token to an adapter)"},
    {"layer_replication", "replicated layers (make that stack with 'slices' first)"},
    {"target_parameters", "adapted parameters of fused experts"},
    {"trainable_token_indices", "trained rows of the embedding"},
};

bool wf_adapter_config_has(const struct wf_json *config, const char *key)
{
    const struct wf_json *v = wf_json_get(config, key);
    if (!v)
        return false;
    switch (v->kind) {
    case WF_JSON_NULL:
        return false;
    case WF_JSON_BOOL:
    case WF_JSON_NUMBER:
        return v->number != 0;
    case WF_JSON_STRING:
        return v->text[0] != 0;
    default:
        return v->n != 0;
    }
}

static int check_type(struct wf_err *e, const char *path, const struct wf_json *config)
{
    const char *type = wf_json_string(config, "peft_type");
    if (!type)
        return wf_fail(e, WF_INPUT, "%s: no peft_type, so this is no adapter of PEFT", path);
    if (strcmp(type, "LORA"))
        return wf_fail(e, WF_USAGE,
                       "%s: peft_type %s: weft adds LoRA adapters only; merge this one with PEFT",
                       path, type);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (wf_adapter_config_has(config, refused[i].key))
            return wf_fail(e, WF_USAGE, "%s: %s: weft does not merge %s; merge it with PEFT", path,
                           refused[i].key, refused[i].what);
    return WF_OK;
}

/* Adapters that started from parts of the base's own weights belong to what was left of the base,
 * unless they were converted on saving (then the config says true). */
static int check_initialisation(struct wf_err *e, const char *path, const struct wf_json *config)
{
    static const char *const plain[] = {"gaussian", "orthogonal", "eva", "mica"};
    const struct wf_json *v = wf_json_get(config, "init_lora_weights");
    if (!v || v->kind == WF_JSON_NULL || v->kind == WF_JSON_BOOL)
        return WF_OK;
    if (v->kind != WF_JSON_STRING)
        return wf_fail(e, WF_INPUT, "%s: init_lora_weights is neither a word nor true or false",
                       path);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcasecmp(v->text, plain[i]))
            return WF_OK;
    return wf_fail(e, WF_USAGE,
                   "%s: init_lora_weights '%s': such an adapter belongs to a base that was changed "
                   "before training, not to the original; save it again with PEFT's "
                   "path_initial_model_for_weight_conversion",
                   path, v->text);
}

/* A member that is a number, or `absent` where it is missing or null. */
static int read_number(struct wf_err *e, const char *path, const struct wf_json *v, double absent,
                       const char *key, bool whole, double *out)
{
    uint64_t n;
    *out = absent;
    if (!v || v->kind == WF_JSON_NULL)
        return WF_OK;
    if (whole && (!wf_json_u64(v, &n) || n == 0 || n > UINT32_MAX))
        return wf_fail(e, WF_INPUT, "%s: %s: expected a whole number from 1", path, key);
    if (v->kind != WF_JSON_NUMBER || !wf_parse_f64(v->text, strlen(v->text), out))
        return wf_fail(e, WF_INPUT, "%s: %s: expected a number", path, key);
    return WF_OK;
}

static int read_flag(struct wf_err *e, const char *path, const struct wf_json *config,
                     const char *key, bool *out)
{
    const struct wf_json *v = wf_json_get(config, key);
    if (v && v->kind != WF_JSON_BOOL && v->kind != WF_JSON_NULL)
        return wf_fail(e, WF_INPUT, "%s: %s: expected true or false", path, key);
    *out = v && v->kind == WF_JSON_BOOL && v->number != 0;
    return WF_OK;
}

static int read_overrides(struct wf_err *e, struct wf_arena *a, const char *path,
                          const struct wf_json *config, const char *key, bool whole,
                          struct wf_adapter_overrides *out)
{
    const struct wf_json *v = wf_json_get(config, key);
    if (!v || v->kind == WF_JSON_NULL)
        return WF_OK;
    if (v->kind != WF_JSON_OBJECT)
        return wf_fail(e, WF_INPUT, "%s: %s: expected an object", path, key);
    size_t bytes = 0;
    for (size_t i = 0; i < v->n; i++)
        bytes += strlen(v->children[i].key);
    if (bytes > PATTERNS_BYTES_MAX)
        return wf_fail(e, WF_USAGE, "%s: %s: patterns of %zu bytes; at most %zu are taken", path,
                       key, bytes, PATTERNS_BYTES_MAX);
    char *where = wf_arena_printf(a, e, "%s: %s", path, key);
    out->list = wf_arena_alloc(a, e, v->n, sizeof *out->list);
    if (!where || !out->list)
        return WF_MACHINE;
    for (size_t i = 0; i < v->n; i++) {
        const struct wf_json *member = &v->children[i];
        struct wf_adapter_override *o = &out->list[out->n++];
        if (member->kind != WF_JSON_NUMBER)
            return wf_fail(e, WF_INPUT, "%s: '%s': expected a number", where, member->key);
        int s = read_number(e, where, member, 0, member->key, whole, &o->value);
        if (!s)
            s = wf_module_pattern_compile(e, a, where, member->key, &o->pattern);
        if (s)
            return s;
    }
    return WF_OK;
}

int wf_adapter_config_check(struct wf_err *e, struct wf_arena *a, const char *path,
                            const struct wf_json *config, struct wf_adapter_settings *out)
{
    *out = (struct wf_adapter_settings){0};
    int s = check_type(e, path, config);
    if (!s)
        s = check_initialisation(e, path, config);
    if (!s)
        s = read_number(e, path, wf_json_get(config, "r"), RANK_DEFAULT, "r", true, &out->rank);
    if (!s)
        s = read_number(e, path, wf_json_get(config, "lora_alpha"), ALPHA_DEFAULT, "lora_alpha",
                        false, &out->alpha);
    if (!s)
        s = read_flag(e, path, config, "use_rslora", &out->rslora);
    if (!s)
        s = read_overrides(e, a, path, config, "rank_pattern", true, &out->ranks);
    if (!s)
        s = read_overrides(e, a, path, config, "alpha_pattern", false, &out->alphas);
    return s;
}

static double resolve(const struct wf_adapter_overrides *o, const char *module, double otherwise)
{
    for (size_t i = 0; i < o->n; i++)
        if (wf_module_pattern_matches(&o->list[i].pattern, module))
            return o->list[i].value;
    return otherwise;
}

double wf_adapter_rank_of(const struct wf_adapter_settings *s, const char *module)
{
    return resolve(&s->ranks, module, s->rank);
}

double wf_adapter_alpha_of(const struct wf_adapter_settings *s, const char *module)
{
    return resolve(&s->alphas, module, s->alpha);
}
