/* adapter.h - a PEFT adapter: what adapter_config.json and the tensors' names say, from headers
 * alone. Facts: huggingface/peft. Everything that changes the arithmetic in a way that weft does
 * not do is refused by name (WF_USAGE); damage is WF_INPUT.
 */
#ifndef WF_ADAPTER_H
#define WF_ADAPTER_H

#include "ckpt.h"

enum wf_adapter_kind {
    WF_ADAPTER_LINEAR,    /* A [r, in], B [out, r] */
    WF_ADAPTER_EMBEDDING, /* A [r, vocab], B [dim, r]; the table is [vocab, dim] */
    WF_ADAPTER_CONV,      /* A [r, in, k...], B [out, r, 1...] */
};

struct wf_adapter_module {
    const char *path; /* of the module, normalised: "model.layers.0.self_attn.q_proj" */
    enum wf_adapter_kind kind;
    const struct wf_tensor *a, *b; /* of the adapter's checkpoint */
    const struct wf_tensor *bias; /* lora_B.bias [out], added to the module's bias times scale; NULL
                                     if there is none */
    uint32_t rank;
    double alpha; /* of the module; alpha_pattern resolved */
    double scale; /* alpha / r, or alpha / sqrt(r) */
};

/* A tensor that replaces the base's: a module saved whole, a trained bias. */
struct wf_adapter_whole {
    const char *name; /* normalised: the base's tensor name */
    const struct wf_tensor *tensor;
};

struct wf_adapter {
    const struct wf_ckpt *ckpt;
    const struct wf_json *config;
    const char *config_path;
    const char *base_name; /* base_model_name_or_path, NULL if absent */
    const char *task_type; /* NULL if absent */
    bool fan_in_fan_out;
    struct wf_adapter_module *modules; /* sorted by path, bytewise */
    size_t n_modules;
    struct wf_adapter_whole *wholes; /* sorted by name */
    size_t n_wholes;
};

/* Reads adapter_config.json of an adapter folder; *path is where it lies. */
int wf_adapter_config_read(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                           const char **path, struct wf_json **out);

/* `ckpt` is an opened adapter folder (ckpt->is_adapter), and outlives *out, which lives in `a`. */
int wf_adapter_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                    struct wf_adapter *out);
#endif
