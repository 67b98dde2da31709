/* byom_lora.h - adapters of lower rank around one base (arXiv 2310.01886, BYOM-LoRA).
 *
 *     B A = U diag(s) V'      Bq = U_q sqrt(s_q)   Aq = sqrt(s_q) V_q'
 *
 * Each module of each adapter by itself: there is nothing here for the frames. src/lowrank does it.
 */
#ifdef WF_DESCRIBE
static const struct wf_option byom_lora_options[] = {
    {"rank", WF_OPTION_NUMBER, WF_GLOBAL, true, 0.0, 1.0, 65536.0,
     "rank of the adapters that are written, a whole number; less where there is no more", NULL},
};

static const struct wf_method method_byom_lora = {
    .name = "byom_lora",
    .title = "adapters of lower rank: the best approximation of each product",
    .formula = "scale * B * A = U * diag(s) * V'\n"
               "B' = U[:, :rank] * sqrt(s[:rank]),  A' = sqrt(s[:rank]) * V'[:rank, :]\n"
               "written as one adapter for each model, OUT/<task>/, with alpha = rank",
    .citation = "Jiang et al., BYOM: Building Your Own Multi-Task Model For Free, "
                "arXiv:2310.01886 (BYOM-LoRA)",
    .options = byom_lora_options,
    .n_options = sizeof byom_lora_options / sizeof *byom_lora_options,
    .min_models = 1,
    .max_models = WF_MODELS_MAX,
    .base = WF_BASE_NONE,
    .adapters = true,
};
#endif
