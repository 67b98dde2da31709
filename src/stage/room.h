/* room.h - hands out parts of one allocation, and first says how large it must be.
 *
 * The same code runs twice: with base NULL it only adds up, with memory it places. */
#ifndef WF_ROOM_H
#define WF_ROOM_H

#include <stddef.h>
#include <stdint.h>

struct wf_room {
    char *base;    /* NULL: measure */
    uint64_t used; /* bytes; UINT64_MAX: more than there can be */
};

/* Room for count things of `size` bytes, on cache lines of their own; NULL while measuring. */
static inline void *wf_room_take(struct wf_room *room, uint64_t count, uint64_t size)
{
    uint64_t at = room->used, bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, 63, &bytes) ||
        __builtin_add_overflow(at, bytes / 64 * 64, &room->used)) {
        room->used = UINT64_MAX;
        return NULL;
    }
    return room->base ? room->base + at : NULL;
}

#endif
