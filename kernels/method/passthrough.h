/* passthrough.h - one model as it is, or scaled.
 *
 *     W = s * W1
 *
 * Without a scale the engine moves bytes; with one, or when the stored type changes, it computes.
 */
#ifndef PASSTHROUGH_SLOTS
#define PASSTHROUGH_SLOTS
enum { PASSTHROUGH_SCALE }; /* in m[0] */
#endif

#ifdef WF_DESCRIBE
static const struct wf_option passthrough_options[] = {
    {"scale", WF_OPTION_NUMBER, WF_PER_MODEL, false, 1.0, -HUGE_VAL, HUGE_VAL,
     "factor on every value; 1 moves the bytes untouched", NULL},
};

static const struct wf_stage passthrough_stages[] = {WF_MAP_STAGE};

static const char *passthrough_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->m[0][PASSTHROUGH_SCALE] = s->model[0][0];
    return NULL;
}

static bool passthrough_is_copy(const struct wf_args *args, uint32_t *source)
{
    *source = 0;
    return args->m[0][PASSTHROUGH_SCALE] == 1.0;
}

static const struct wf_method method_passthrough = {
    .name = "passthrough",
    .title = "one model as it is, or scaled",
    .formula = "W = scale * W1",
    .citation = "Goddard et al., Arcee's MergeKit: A Toolkit for Merging Large Language Models, "
                "EMNLP 2024 (industry track)",
    .options = passthrough_options,
    .n_options = sizeof passthrough_options / sizeof *passthrough_options,
    .stages = passthrough_stages,
    .n_stages = 1,
    .min_models = 1,
    .max_models = 1,
    .base = WF_BASE_NONE,
    .map = WF_ID_passthrough_map,
    .prepare = passthrough_prepare,
    .is_copy = passthrough_is_copy,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT wf_real WF_NAME(passthrough_map)(const wf_real *x, int n,
                                            const struct WF_NAME(wf_view) * v)
{
    (void)n;
    return v->m[0][PASSTHROUGH_SCALE] * x[0];
}
#endif
