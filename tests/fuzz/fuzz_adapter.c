/* fuzz_adapter.c - any bytes as what comes with an adapter: a config, or a pattern and names.
 *
 *   first byte 'c'   adapter_config.json, checked as JSON and then for what it says
 *   else             lines: a pattern, then names of tensors, each taken apart and matched
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/str.h"
#include "../../src/format/adapter_config.h"
#include "../../src/format/adapter_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void one_config(struct wf_err *e, struct wf_arena *a, const char *text, size_t n)
{
    struct wf_json *config;
    struct wf_adapter_settings s;
    if (wf_json_parse(e, a, "c", text, n, WF_JSON_CONFIG, &config))
        return;
    int status = wf_adapter_config_check(e, a, "c", config, &s);
    must(status == wf_err_status(e));
    if (status)
        return;
    must(s.rank >= 1 && isfinite(s.alpha));
    must(wf_adapter_rank_of(&s, "model.layers.0.q_proj") >= 1);
    must(isfinite(wf_adapter_alpha_of(&s, "model.layers.0.q_proj")));
}

static void one_name(struct wf_err *e, struct wf_arena *a, const char *name,
                     const struct wf_module_pattern *p)
{
    struct wf_adapter_name parts;
    must(wf_adapter_name_parse(e, a, name, &parts) == WF_OK);
    must(parts.path && strlen(parts.path) <= strlen(name));
    if (p)
        wf_module_pattern_matches(p, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    char *text = wf_arena_strndup(&a, &e, (const char *)data, n);
    if (n && text && text[0] == 'c') {
        one_config(&e, &a, text + 1, n - 1);
    } else if (text) {
        struct wf_module_pattern p;
        char *rest = strchr(text, '\n');
        if (rest)
            *rest++ = 0;
        bool compiled = !wf_module_pattern_compile(&e, &a, "pattern", text, &p);
        must(compiled == (wf_err_status(&e) == WF_OK));
        wf_err_clear(&e);
        for (char *next; rest; rest = next) {
            next = strchr(rest, '\n');
            if (next)
                *next++ = 0;
            one_name(&e, &a, rest, compiled ? &p : NULL);
        }
    }
    wf_arena_destroy(&a);
    return 0;
}
