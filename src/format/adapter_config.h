/* adapter_config.h - the part of adapter_config.json that decides what is added: rank and alpha of
 * each module, and features that weft refuses by name. An absent key has PEFT's default.
 */
#ifndef WF_ADAPTER_CONFIG_H
#define WF_ADAPTER_CONFIG_H

#include "json.h"
#include "module_pattern.h"

struct wf_adapter_override {
    struct wf_module_pattern pattern;
    double value;
};

struct wf_adapter_overrides {
    struct wf_adapter_override *list; /* the first that matches decides */
    size_t n;
};

struct wf_adapter_settings {
    double rank, alpha;
    bool rslora;
    struct wf_adapter_overrides ranks, alphas;
};

/* Refuses (WF_USAGE) what weft does not merge, and values that make no sense (WF_INPUT). */
int wf_adapter_config_check(struct wf_err *e, struct wf_arena *a, const char *path,
                            const struct wf_json *config, struct wf_adapter_settings *out);

/* True if the key is there and says anything but null, false, "" or an empty list. */
bool wf_adapter_config_has(const struct wf_json *config, const char *key);

double wf_adapter_rank_of(const struct wf_adapter_settings *s, const char *module);
double wf_adapter_alpha_of(const struct wf_adapter_settings *s, const char *module);

#endif
