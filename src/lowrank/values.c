/* values.c - tensors as numbers, and back; see values.h. */
#include "values.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../../kernels/dtype_conv.h"
#include "../base/num.h"

#define CHUNK 8192u /* elements converted at once */

int wf_values_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                   struct wf_values *out)
{
    int s = WF_OK;
    *out = (struct wf_values){.ckpt = ckpt};
    out->fds = wf_arena_alloc(a, e, ckpt->n_files, sizeof *out->fds);
    if (!out->fds)
        return WF_MACHINE;
    for (size_t i = 0; i < ckpt->n_files; i++)
        out->fds[i] = -1;
    for (size_t i = 0; !s && i < ckpt->n_files; i++) {
        const struct wf_ckpt_file *f = &ckpt->files[i];
        struct wf_file_id id;
        s = wf_open_read(e, WF_INPUT, f->path, &out->fds[i], &id);
        if (!s && memcmp(&id, &f->id, sizeof id))
            s = wf_fail(e, WF_INPUT, "%s was changed while weft was at work", f->path);
    }
    if (s)
        wf_values_close(out);
    return s;
}

void wf_values_close(struct wf_values *v)
{
    for (size_t i = 0; v->fds && i < v->ckpt->n_files; i++)
        wf_close(v->fds[i]);
    *v = (struct wf_values){0};
}

int wf_values_bytes(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                    uint64_t at, size_t n, void *to)
{
    return wf_pread(e, v->fds[t->file], v->ckpt->files[t->file].path, to, n, t->offset + at);
}

void wf_values_widen(enum wf_dtype dtype, const void *from, size_t n, double *to)
{
    const uint16_t *half = from;
    const float *single = from;
    if (dtype == WF_F64)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++)
            to[i] = (double)(dtype == WF_F32   ? single[i]
                             : dtype == WF_F16 ? wf_f16_to_f32(half[i])
                                               : wf_bf16_to_f32(half[i]));
}

static int not_finite(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                      uint64_t element)
{
    uint64_t byte = t->offset + element * (wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8);
    return wf_fail(e, WF_INPUT,
                   "%s: tensor '%s': NaN or infinity at element %" PRIu64 " (byte %" PRIu64
                   " of the file)",
                   v->ckpt->files[t->file].path, t->name, element, byte);
}

/* Reads one chunk into `to`. */
static int read_chunk(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                      uint64_t first, size_t n, double *to)
{
    double raw[CHUNK];
    size_t size = wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8;
    int s = wf_values_bytes(e, v, t, first * size, n * size, raw);
    if (s)
        return s;
    wf_values_widen((enum wf_dtype)t->dtype, raw, n, to);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(to[i]))
            return not_finite(e, v, t, first + i);
    return WF_OK;
}

int wf_values_read(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                   uint64_t first, uint64_t n, double *to)
{
    int s = WF_OK;
    for (uint64_t at = 0; !s && at < n; at += CHUNK)
        s = read_chunk(e, v, t, first + at, wf_min_u64(CHUNK, n - at), to + at);
    return s;
}

bool wf_values_round(enum wf_dtype dtype, const double *from, size_t n, void *to)
{
    uint16_t *half = to;
    float *single = to;
    double most = dtype == WF_F16 ? 65504.0 : (double)3.38953139e38f; /* BF16's largest */
    if (dtype == WF_F64) {
        memcpy(to, from, n * sizeof *from);
        most = INFINITY;
    }
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(from[i]) <= most))
            return false;
        if (dtype == WF_F32)
            single[i] = (float)from[i];
        else if (dtype == WF_F16)
            half[i] = wf_f64_to_f16(from[i]);
        else if (dtype == WF_BF16)
            half[i] = wf_f64_to_bf16(from[i]);
    }
    return true;
}
