/* row_map.c - reading rows through a map, run by run. */
#include "row_map.h"

#include <string.h>

#include "../base/num.h"

uint64_t wf_row_run(const struct wf_row_map *map, uint64_t row, uint64_t limit)
{
    const int32_t *from = &map->from[row];
    uint64_t n = 1, most = wf_min_u64(limit, map->rows - row);
    int32_t next = from[0] >= 0 ? 1 : 0; /* what each row is more than the one before it */
    if (from[0] <= WF_ROW_MADE_FIRST)
        return 1;
    while (n < most && from[n] == from[n - 1] + next)
        n++;
    return n;
}

int wf_row_view_read(struct wf_err *e, const struct wf_row_view *rows, struct wf_infile *f,
                     char *to, uint64_t offset, uint64_t bytes)
{
    const struct wf_tensor *t = rows->stored;
    uint64_t row_bytes = t->bytes / (t->count / rows->cols);
    int status = WF_OK;
    for (uint64_t at = offset, end = offset + bytes, next; at < end && !status; at = next) {
        uint64_t row = at / row_bytes, within = at % row_bytes;
        uint64_t run = wf_row_run(rows->map, row, (end - 1) / row_bytes - row + 1);
        next = wf_min_u64(end, (row + run) * row_bytes);
        int32_t from = rows->map->from[row];
        if (from < 0)
            memset(to, 0, next - at);
        else
            status = wf_pread(e, f->fd, f->path, to, next - at,
                              t->offset + (uint64_t)from * row_bytes + within);
        to += next - at;
    }
    return status;
}
