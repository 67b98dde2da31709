/* adapter_out.h - writing a PEFT adapter that PEFT and vLLM load: one rank for all modules, alpha
 * equal to it, so that the scale is one.
 */
#ifndef WF_ADAPTER_OUT_H
#define WF_ADAPTER_OUT_H

#include "../format/adapter.h"
#include "../format/outfile.h"
#include "../format/st_header.h"

/* What adapter_config.json says. */
struct wf_adapter_facts {
    uint32_t rank;
    const char *base_name, *task_type; /* NULL: null */
    const char *bias;                  /* "none", "all", "lora_only" */
    bool fan_in_fan_out;
    bool lora_bias;
    const char *const *targets; /* sorted */
    size_t n_targets;
    const char *const *whole_modules; /* modules_to_save */
    size_t n_whole_modules;
};

int wf_adapter_facts_write(struct wf_err *e, struct wf_arena *a, const char *folder,
                           const struct wf_adapter_facts *facts);

/* target_modules: the last parts of the modules' paths, sorted. In the arena. */
int wf_adapter_targets(struct wf_err *e, struct wf_arena *a, const char *const *paths, size_t n,
                       const char *const **out, size_t *n_out);

/* adapter_model.safetensors under construction: laid out first, filled in any order. */
struct wf_adapter_out {
    struct wf_st_tensor *rows; /* in file order */
    size_t n;
    uint64_t data_start;
    struct wf_outfile file;
};

/* `rows` have name, type and shape; they are put in order and get the rest. The file appears at its
 * final size. */
int wf_adapter_out_create(struct wf_err *e, struct wf_arena *a, const char *folder,
                          struct wf_st_tensor *rows, size_t n, struct wf_adapter_out *out);
/* Writes bytes [at, at + n) of a tensor. Thread-safe. */
int wf_adapter_out_put(struct wf_err *e, struct wf_adapter_out *out, enum wf_dtype dtype,
                       const char *name, uint64_t at, size_t n, const void *data);
/* Syncs what was written, and closes the file. */
int wf_adapter_out_finish(struct wf_err *e, struct wf_adapter_out *out);
void wf_adapter_out_abandon(struct wf_adapter_out *out); /* accepts a zeroed one */

/* "base_model.model.PATH.lora_A.weight" and the like for one module, in the arena. */
struct wf_factor_names {
    const char *a, *b, *bias;
};
int wf_adapter_factor_names(struct wf_err *e, struct wf_arena *a, const char *path,
                            enum wf_adapter_kind kind, struct wf_factor_names *out);

#endif
