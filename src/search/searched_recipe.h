/* searched_recipe.h - a recipe with other weights and another density, as a text of its own. */
#ifndef WF_SEARCHED_RECIPE_H
#define WF_SEARCHED_RECIPE_H

#include "../base/str.h"
#include "../recipe/recipe.h"

/* The recipe as YAML that means the same wherever it lies, but for `weight` of each model that has
 * one (in order), `lambda`, which is 1 where the method has it, and, unless it is NaN, `density`.
 */
void wf_searched_recipe(struct wf_str *s, const struct wf_recipe *r, const double *weights,
                        double density);

#endif
