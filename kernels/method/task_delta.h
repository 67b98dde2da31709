/* task_delta.h - which elements a task keeps of its own beside a shared model (BYOM-FFT).
 *
 *     u_t = W_t - W*              W* is the merged model, as it is stored
 *     kept: the floor(density D) elements of largest |u_t|, of equal ones those of lowest index
 *
 * x[0] is the shared model's value, x[1..n) are the tasks'. D counts the elements of the tensor, or
 * of all float tensors of the model in the order of their names. Not offered to recipes: it is the
 * second step of any merge with `task_deltas`, and has a share for each task instead of a result.
 * What is kept and does not differ, bit for bit, is left out by whoever takes the shares.
 *
 * Jiang et al., Effective and Parameter-Efficient Reusing Fine-Tuned Models, arXiv 2310.01886
 */
#ifndef TASK_DELTA_SLOTS
#define TASK_DELTA_SLOTS
enum {                                   /* in g */
       TASK_DELTA_INPUT = WF_SHARE_SLOT, /* whose share it is: 1.. */
       TASK_DELTA_DENSITY = 1            /* 1: everything is kept, NaN too, and nothing is ranked */
};
enum { TASK_DELTA_CUT }; /* in m[i] */
#endif

#ifdef WF_DESCRIBE
static void task_delta_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                             uint64_t *rank)
{
    (void)i;
    uint64_t kept = (uint64_t)(args->g[TASK_DELTA_DENSITY] * (double)group->count);
    rank[0] = group->count - (kept < group->count ? kept : group->count);
}

static const struct wf_stage task_delta_stages[] = {
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_MODEL,
     .function = WF_ID_delta_key,
     .select = {.per_model = true, .cut = TASK_DELTA_CUT, .n_ranks = 1, .ranks = task_delta_ranks}},
    WF_MAP_STAGE,
};

enum { TASK_DELTA_OPT_DENSITY, TASK_DELTA_OPT_SCOPE };
static const char *const task_delta_scopes[] = {"tensor", "model", NULL};
static const struct wf_option task_delta_options[] = {
    {"density", WF_OPTION_NUMBER, WF_GLOBAL, true, 0.0, 0.0, 1.0,
     "the share of elements that is kept, largest differences first", NULL},
    {"scope", WF_OPTION_CHOICE, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "what differences are ranked over: each tensor, or the whole model", task_delta_scopes},
};

static const char *task_delta_prepare(const struct wf_settings *s, struct wf_args *args)
{
    double density = s->global[TASK_DELTA_OPT_DENSITY];
    enum wf_scope scope = s->global[TASK_DELTA_OPT_SCOPE] != 0.0 ? WF_SCOPE_MODEL : WF_SCOPE_TENSOR;
    args->scope[0] = density < 1.0 ? (uint8_t)scope : WF_SCOPE_OFF;
    args->g[TASK_DELTA_DENSITY] = density;
    args->ties = WF_TIES_LOW_IS_HIGH;
    return NULL;
}

static const struct wf_method method_task_delta = {
    .name = "task_delta",
    .title = "what each task needs beside the merged model",
    .formula = "u_t = W_t - W*; kept: the floor(density D) elements of largest |u_t|",
    .citation = "Jiang et al., Effective and Parameter-Efficient Reusing Fine-Tuned Models, 2023, "
                "arXiv 2310.01886",
    .options = task_delta_options,
    .n_options = sizeof task_delta_options / sizeof *task_delta_options,
    .stages = task_delta_stages,
    .n_stages = sizeof task_delta_stages / sizeof *task_delta_stages,
    .min_models = 1,
    .max_models = WF_MODELS_MAX - 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_task_delta_share,
    .prepare = task_delta_prepare,
};
#endif

#ifdef WF_ELEMENTS
/* 1 where the task keeps the element, else 0. All tasks are looked at and one is taken: a number
 * that picks an input would keep the loop over elements from being vectorised. */
WF_ELEMENT wf_real WF_NAME(task_delta_share)(const wf_real *x, int n,
                                             const struct WF_NAME(wf_view) * v)
{
    wf_real share = WF_NAME(wf_select)(v->g[TASK_DELTA_DENSITY] == 1, (wf_real)1, (wf_real)0);
    WF_EACH_INPUT (i, 1, n) {
        int kept = (v->g[TASK_DELTA_INPUT] == (wf_real)i) &
                   (WF_NAME(delta_key)(x, n, v, i) >= v->m[i][TASK_DELTA_CUT]);
        share = WF_NAME(wf_select)(kept, (wf_real)1, share);
    }
    return share;
}
#endif
