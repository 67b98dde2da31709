/* compress.h - an adapter of lower rank: the best approximation of each module's product
 * (BYOM-LoRA, arXiv 2310.01886).
 */
#ifndef WF_COMPRESS_H
#define WF_COMPRESS_H

#include "../format/adapter.h"
#include "../linalg/linalg_crew.h"

/* What was kept of one module, or of all. */
struct wf_lowrank_row {
    const char *path; /* NULL: of all */
    uint32_t outs, ins, rank_in, rank;
    double whole, kept; /* squared norms */
    uint64_t bytes;     /* of all: the file that was written */
};

/* The share of the squared norm that is kept, and the relative error; 1 and 0 of nothing. */
double wf_lowrank_energy(const struct wf_lowrank_row *row);
double wf_lowrank_error(const struct wf_lowrank_row *row);

struct wf_compress_options {
    uint32_t rank;
    enum wf_dtype dtype;   /* of the factors that are written; WF_DTYPE_NONE: as they were read */
    const char *base_name; /* for the config; NULL: the input's */
    unsigned threads;
    uint64_t memory_bytes;
    const struct wf_linalg_device *device; /* that computes; NULL: the processor */
    const volatile int *stop;              /* polled between modules; NULL: never */
    /* Called for each module in the order of their paths, by one thread at a time; may be NULL. */
    void (*row)(void *arg, const struct wf_lowrank_row *row);
    void *arg;
};

/* Rank of the result: at most options->rank and what the modules' shapes and ranks allow. */
uint32_t wf_compress_rank(const struct wf_adapter *adapter, uint32_t rank);

/* Floating point operations that it takes, about, in matrices that are large enough for a device.
 */
double wf_compress_work(const struct wf_adapter *adapter);

/* Writes adapter_model.safetensors and adapter_config.json into `folder`, which exists; synced.
 * Tensors that the adapter holds whole are copied. */
int wf_compress_adapter(struct wf_err *e, const struct wf_adapter *adapter, const char *folder,
                        const struct wf_compress_options *options, struct wf_lowrank_row *total);

#endif
