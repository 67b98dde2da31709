/* adapter_name.h - the names of an adapter's tensors, taken apart.
 *
 *     base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight
 *     '-- wrapping ---''------------- path ----------'  part  adapter
 *
 * Files differ in the wrapping, in whether the adapter's name is there, and in parts that carry the
 * module's own tensors; docs/RECIPES.md lists what is understood.
 */
#ifndef WF_ADAPTER_NAME_H
#define WF_ADAPTER_NAME_H

#include "../base/mem.h"
#include "../base/status.h"

enum wf_adapter_part {
    WF_PART_A,
    WF_PART_B,
    WF_PART_B_BIAS,
    WF_PART_EMBEDDING_A,
    WF_PART_EMBEDDING_B,
    WF_PART_WHOLE, /* path is a tensor's name: it replaces the base's */
    WF_PART_IGNORED,
    WF_PART_MAGNITUDE, /* DoRA */
    WF_PART_TOKENS,    /* trainable tokens */
    WF_PART_DIAGONAL,  /* KaSA */
    WF_PART_FOREIGN,   /* of kohya, diffusers or another kind of adapter */
};

struct wf_adapter_name {
    enum wf_adapter_part part;
    const char *path;    /* of the module, or for WHOLE of the tensor */
    const char *adapter; /* "default", or NULL if the name has none */
};

/* `name` as the file has it. Fails without memory only. */
int wf_adapter_name_parse(struct wf_err *e, struct wf_arena *a, const char *name,
                          struct wf_adapter_name *out);

#endif
