/* bound.c - the largest part of the compute threads' time. */
#include "bound.h"

#include <stddef.h>

void wf_stream_times_add(struct wf_stream_times *sum, const struct wf_stream_times *t)
{
    sum->readers_ns += t->readers_ns;
    sum->compute_ns += t->compute_ns;
    sum->writers_ns += t->writers_ns;
    sum->read_ns += t->read_ns;
    sum->write_ns += t->write_ns;
    sum->arithmetic_ns += t->arithmetic_ns;
    sum->device_ns += t->device_ns;
    sum->copy_ns += t->copy_ns;
    sum->hash_ns += t->hash_ns;
    sum->wait_read_ns += t->wait_read_ns;
    sum->wait_write_ns += t->wait_write_ns;
}

enum wf_bound wf_bound_of(const struct wf_stream_times *t)
{
    const struct {
        enum wf_bound bound;
        uint64_t ns;
    } parts[] = {{WF_BOUND_READS, t->wait_read_ns},
                 {WF_BOUND_WRITES, t->wait_write_ns},
                 {WF_BOUND_COMPUTE, t->arithmetic_ns + t->hash_ns},
                 {WF_BOUND_DEVICES, t->device_ns},
                 {WF_BOUND_COPIES, t->copy_ns}};
    enum wf_bound bound = WF_BOUND_NONE;
    if (t->arithmetic_ns + t->device_ns + t->copy_ns == 0)
        return bound;
    uint64_t most = 0, rest = t->compute_ns;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        rest -= parts[i].ns < rest ? parts[i].ns : rest;
        if (parts[i].ns > most) {
            most = parts[i].ns;
            bound = parts[i].bound;
        }
    }
    if (bound != WF_BOUND_NONE && rest > most)
        bound = WF_BOUND_TURNS;
    /* Readers that have nothing to do while others wait for them have no slot to read into. */
    if (bound == WF_BOUND_READS && t->read_ns < t->readers_ns / 2)
        bound = WF_BOUND_SLOTS;
    return bound;
}

const char *wf_bound_name(enum wf_bound bound)
{
    static const char *const names[] = {[WF_BOUND_READS] = "storage reads",
                                        [WF_BOUND_WRITES] = "storage writes",
                                        [WF_BOUND_COMPUTE] = "compute",
                                        [WF_BOUND_DEVICES] = "devices",
                                        [WF_BOUND_COPIES] = "copies from the page cache",
                                        [WF_BOUND_SLOTS] = "memory for buffers",
                                        [WF_BOUND_TURNS] = "threads waiting for each other"};
    return names[bound];
}
