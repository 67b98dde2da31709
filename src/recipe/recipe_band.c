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

bool wf_recipe_band_hides(const struct wf_value *values, size_t n, const char *name)
{
    bool is_percentile = !strcmp(name, percentiles[0]) || !strcmp(name, percentiles[1]);
    return is_percentile && either(values, n, shares);
}

/* One model's percentiles, from whatever level; what differs by tensor is checked with each tensor,
 * by the method. */
static int check_band(struct wf_recipe_reader *r, size_t model)
{
    const struct wf_recipe *recipe = r->out;
    const struct wf_recipe_model *entry = &recipe->models[model];
    const struct wf_recipe_slice *slice = &recipe->slices[entry->slice];
    const struct wf_position anywhere = {.tensor = "", .input = "", .slice = entry->slice};
    const struct wf_value *given = NULL;
    double ends[2];
    for (int k = 1; k >= 0; k--) {
        const struct wf_value *v = wf_recipe_strongest(recipe, slice, entry, percentiles[k]);
        if (v && !wf_value_is_plain(v))
            return WF_OK;
        given = v ? v : given;
        ends[k] = wf_recipe_value(recipe, (size_t)wf_method_option(recipe->method, percentiles[k]),
                                  (int)model, &anywhere);
    }
    struct wf_clip clip;
    if (isnan(ends[0]) != isnan(ends[1]))
        return wf_recipe_fail(r, given->line, "'%s' needs '%s' as well: a band has two ends",
                              percentiles[isnan(ends[0])], percentiles[!isnan(ends[0])]);
    if (ends[0] > ends[1])
        return wf_recipe_fail(r, given->line, "'low' is greater than 'high' for model '%s'",
                              wf_clip(entry->ref.text, &clip));
    return WF_OK;
}

int wf_recipe_check_bands(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    const struct wf_recipe *recipe = r->out;
    int s = WF_OK;
    if (wf_method_option(recipe->method, percentiles[0]) < 0)
        return WF_OK;
    for (size_t i = slice->first; !s && i < slice->first + slice->n; i++)
        if (!wf_recipe_exempt(recipe, i))
            s = check_band(r, i);
    return s;
}
