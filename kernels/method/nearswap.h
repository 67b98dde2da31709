/* nearswap.h - the model where it is close to the base, ever less of it where it is far.
 *
 *     q = t / max(|W1 - W0|, 1e-6), from 0 to 1
 *     W = q W1 + (1 - q) W0
 *
 * alchemonaut's NearSwap. Where q is 1 the model's bits are taken, where it is 0 the base's.
 */
#ifndef NEARSWAP_SLOTS
#define NEARSWAP_SLOTS
enum { NEARSWAP_T };     /* in g */
enum { NEARSWAP_OPT_T }; /* rows of the options table */
#endif

#ifdef WF_DESCRIBE
static const struct wf_option nearswap_options[] = {
    {"t", WF_OPTION_NUMBER, WF_GLOBAL, true, 0.0, -HUGE_VAL, HUGE_VAL,
     "how far from the base the model's values still replace the base's; 0 is the base", NULL},
};

static const struct wf_stage nearswap_stages[] = {WF_MAP_STAGE};

static const char *nearswap_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[NEARSWAP_T] = s->global[NEARSWAP_OPT_T];
    return NULL;
}

static const struct wf_method method_nearswap = {
    .name = "nearswap",
    .title = "the model where it is near the base, fading where it is far",
    .formula = "q = t / max(|W1 - W0|, 1e-6), clipped to 0 .. 1\n"
               "W = q * W1 + (1 - q) * W0",
    .citation = "alchemonaut, NearSwap, 2024 (QuartetAnemoi-70B-t0.0001)",
    .options = nearswap_options,
    .n_options = sizeof nearswap_options / sizeof *nearswap_options,
    .stages = nearswap_stages,
    .n_stages = sizeof nearswap_stages / sizeof *nearswap_stages,
    .min_models = 1,
    .max_models = 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_nearswap_map,
    .prepare = nearswap_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT wf_real WF_NAME(nearswap_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    (void)n;
    wf_real least = (wf_real)1e-6, distance = WF_NAME(wf_abs)(x[1] - x[0]);
    wf_real q = v->g[NEARSWAP_T] / WF_NAME(wf_select)(distance < least, least, distance);
    wf_real mixed = q * x[1] + (1 - q) * x[0];
    wf_real near = WF_NAME(wf_select)(q >= 1, x[1], mixed);
    return WF_NAME(wf_select)((q <= 0) | (x[1] == x[0]), x[0], near);
}
#endif
