/* device_mirror.c - copies of slots' inputs on one device, shared by its lanes.
 *
 *   empty ----a lane takes it, and copies----> filling
 *   filling --the queue of that lane is done-> full
 *   filling --the device failed--------------> empty
 *   full -----other lanes take it------------> full
 *   full -----it makes room for another key--> filling
 *
 * The mirror that was used longest ago makes room, but none that a lane still has.
 */
#include "device_lane.h"

void wf_mirrors_begin(struct wf_mirrors *m, uint32_t count, uint64_t input_bytes)
{
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->filled, NULL);
    m->count = count;
    m->capacity = input_bytes;
}

void wf_mirrors_end(struct wf_mirrors *m)
{
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->filled);
}

static struct wf_mirror *find(struct wf_mirrors *m, uint64_t key)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->each[i].state != WF_MIRROR_EMPTY && m->each[i].key == key)
            return &m->each[i];
    return NULL;
}

/* Empty ones have used == 0. */
static struct wf_mirror *oldest(struct wf_mirrors *m)
{
    struct wf_mirror *best = NULL;
    for (uint32_t i = 0; i < m->count; i++)
        if (!m->each[i].users && (!best || m->each[i].used < best->used))
            best = &m->each[i];
    return best;
}

struct wf_mirror *wf_mirror_take(struct wf_mirrors *m, uint64_t key, bool *fill)
{
    struct wf_mirror *found;
    pthread_mutex_lock(&m->lock);
    while ((found = find(m, key)) && found->state == WF_MIRROR_FILLING)
        pthread_cond_wait(&m->filled, &m->lock);
    *fill = !found;
    if (!found) {
        found = oldest(m);
        found->state = WF_MIRROR_FILLING;
        found->key = key;
    }
    found->users++;
    found->used = ++m->now;
    pthread_mutex_unlock(&m->lock);
    return found;
}

void wf_mirror_settle(struct wf_mirrors *m, struct wf_mirror *mirror, bool full)
{
    pthread_mutex_lock(&m->lock);
    mirror->state = full ? WF_MIRROR_FULL : WF_MIRROR_EMPTY;
    if (!full)
        mirror->used = 0;
    pthread_cond_broadcast(&m->filled);
    pthread_mutex_unlock(&m->lock);
}

void wf_mirror_leave(struct wf_mirrors *m, struct wf_mirror *mirror)
{
    pthread_mutex_lock(&m->lock);
    mirror->users--;
    pthread_mutex_unlock(&m->lock);
}
