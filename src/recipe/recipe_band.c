/* recipe_band.c - the two ways to say which part of a task vector stays.
 *
 * mergekit counts shares: `density` stays and `gamma`, the largest, goes. The Breadcrumbs paper
 * names the two percentiles between which a magnitude stays: `low` and `high`. Methods that have
 * both take either, not both on one level; the way of a model's own entry goes before that of the
 * top level.
 */
#include <math.h>
#include <string.h>

#include "recipe_read.h"

static const char *const percentiles[] = {"low", "high"};
static const char *const shares[] = {"density", "gamma"};

static const struct wf_value *either(const struct wf_value *values, size_t n,
                                     const char *const names[2])
{
    const struct wf_value *first = wf_recipe_find(values, n, names[0]);
    return first ? first : wf_recipe_find(values, n, names[1]);
}

int wf_recipe_check_level_band(struct wf_recipe_reader *r, const struct wf_value *values, size_t n)
{
    const struct wf_value *a = either(values, n, percentiles), *b = either(values, n, shares);
    if (!a || !b)
        return WF_OK;
    return wf_recipe_fail(r, a->line > b->line ? a->line : b->line,
                          "'%s' and '%s' say the same thing in two ways: give 'low' and 'high', or "
                          "'density' and 'gamma'",
                          a->name, b->name);
}

bool wf_recipe_band_hides(const struct wf_recipe_model *model, const char *name)
{
    bool is_percentile = !strcmp(name, percentiles[0]) || !strcmp(name, percentiles[1]);
    return is_percentile && either(model->values, model->n_values, shares);
}

/* One model's percentiles, from whatever level. */
static int check_band(struct wf_recipe_reader *r, size_t model, size_t low_option,
                      size_t high_option)
{
    const struct wf_recipe *recipe = r->out;
    const struct wf_recipe_model *entry = &recipe->models[model];
    double low = wf_recipe_value(recipe, low_option, (int)model, "");
    double high = wf_recipe_value(recipe, high_option, (int)model, "");
    if (isnan(low) && isnan(high))
        return WF_OK;
    const struct wf_value *v = either(entry->values, entry->n_values, percentiles);
    if (!v)
        v = either(recipe->values, recipe->n_values, percentiles);
    if (isnan(low) || isnan(high))
        return wf_recipe_fail(r, v->line, "'%s' needs '%s' as well: a band has two ends",
                              isnan(low) ? "high" : "low", isnan(low) ? "low" : "high");
    struct wf_clip clip;
    if (low > high)
        return wf_recipe_fail(r, v->line, "'low' is greater than 'high' for model '%s'",
                              wf_clip(entry->ref.text, &clip));
    return WF_OK;
}

int wf_recipe_check_bands(struct wf_recipe_reader *r)
{
    const struct wf_recipe *recipe = r->out;
    int low = wf_method_option(recipe->method, percentiles[0]);
    int high = wf_method_option(recipe->method, percentiles[1]);
    if (low < 0 || high < 0)
        return WF_OK;
    for (size_t i = 0; i < recipe->n_models; i++) {
        int s = wf_recipe_exempt(recipe, i) ? WF_OK : check_band(r, i, (size_t)low, (size_t)high);
        if (s)
            return s;
    }
    return WF_OK;
}
