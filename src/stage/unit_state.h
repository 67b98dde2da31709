/* unit_state.h - what a unit consists of; private to src/stage. */
#ifndef WF_UNIT_STATE_H
#define WF_UNIT_STATE_H

#include <pthread.h>

#include "select.h"
#include "sums.h"
#include "unit.h"

/* A number of wf_args that a SELECT has found. */
struct wf_conclusion {
    struct wf_cut_keys keys;
    bool split;
    uint32_t piece; /* where the split is */
    uint64_t index; /* and at which element of the tensor */
    int32_t input;
    uint8_t slot;
};

/* What one caller works with, taken for the time of one call. */
struct wf_unit_bench {
    struct wf_unit_bench *next;
    struct wf_select_bench select;
    struct wf_split *splits;
    struct wf_sums sums;
    double (*m)[WF_ARGS_MODEL]; /* of a tensor of the model's group, in MAP */
};

/* Benches, lent to callers; and the lock of the tree. Apart from the unit, which is constant in
 * MAP. */
struct wf_unit_shared {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct wf_unit_bench *free;
};

struct wf_unit {
    struct wf_unit_need need;
    struct wf_unit_group group;
    enum wf_step step;
    unsigned stage;
    struct wf_args args; /* the group's, with what was found so far */
    struct wf_conclusion *conclusions;
    uint32_t n_conclusions;
    struct wf_split *splits; /* those of `args` */
    uint32_t n_splits;
    struct wf_selecting select;
    struct wf_sums sums;
    double *columns;
    bool has_columns;
    unsigned column_stage;
    struct wf_unit_shared *shared;
    struct wf_unit_bench *benches;
    void *joint; /* room to join in, wf_join_bytes(); NULL: there is one rank */
};

/* Whether a stage of the method's table is this unit's. */
bool wf_unit_has_stage(const struct wf_unit *u, unsigned s);
/* Begins stage s or the next one after it that is this unit's. */
void wf_unit_begin_stage(struct wf_unit *u, unsigned s);
/* Adds a conclusion, and makes it hold in args and splits. */
void wf_unit_conclude(struct wf_unit *u, const struct wf_conclusion *c);

#endif
