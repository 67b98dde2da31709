/* source.h - inputs that are more than the bytes of a file: stored values and what is added to them
 * (format/addend.h), made in the slot after it was read. Private to src/stream.
 */
#ifndef WF_SOURCE_H
#define WF_SOURCE_H

#include "ring.h"

/* Reads the factors of every addend of the plan's inputs, and makes the indexes of deltas; both
 * stay until wf_sources_destroy. NaN and infinity in factors are WF_INPUT, unless the recipe allows
 * them. */
int wf_sources_create(struct wf_ring *r);
void wf_sources_destroy(struct wf_ring *r);

/* Applies the addends of the slot's inputs. Once for each time that a slot is read, before anything
 * else; the slot is the caller's. */
int wf_sources_make(struct wf_ring *r, const struct wf_slot *slot, const struct wf_bench *bench);

#endif
