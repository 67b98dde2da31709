/* saved.h - what the unit of a model has concluded, as text from which another process goes on.
 *
 *   stage S             to go on with
 *   g X X ...           the numbers of wf_args, as bits
 *   m X X ...           one line for each input
 *   t X X ...
 *   found KEY KEY                      each conclusion of the stages before, in their order ...
 *   split KEY KEY TENSOR ELEMENT       ... with the element from which on its second key holds
 *   cut STATE RANK LEAST MOST BEFORE THROUGH    of stage S, if it is a SELECT that has counted
 *   end
 *
 * All numbers are hexadecimal. Nothing in it depends on memory, threads or ranks: the pieces of a
 * group do, so a place is written as a tensor of the group and an element of it. A step that was
 * under way is made again; what TIES found is given up, because it counts from the start of a
 * piece.
 */
#ifndef WF_SAVED_H
#define WF_SAVED_H

#include "../base/str.h"
#include "unit.h"

/* Which piece is where. */
struct wf_unit_places {
    /* Of which tensor a piece is a part, counted in the group's order. */
    uint64_t (*tensor)(void *arg, uint32_t piece);
    /* In which piece an element lies; false if there is no such element. */
    bool (*piece)(void *arg, uint64_t tensor, uint64_t element, uint32_t *piece);
    void *arg;
};

/* Between two steps. Scope MODEL. */
void wf_unit_save(const struct wf_unit *u, const struct wf_unit_places *places,
                  struct wf_str *text);

/* The unit has begun with the same group. False for text that wf_unit_save cannot have written of
 * this group; the unit is then at its beginning. */
bool wf_unit_restore(struct wf_unit *u, const struct wf_unit_places *places, const char *text,
                     size_t n);

#endif
