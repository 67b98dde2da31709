/* statistics_file.c - the statistics of a model on disk. */
#include "statistics_file.h"

#include <stdio.h>
#include <string.h>

#include "../base/file.h"
#include "../base/log.h"
#include "../stage/join.h"
#include "../stage/saved.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define HEAD "weft-statistics 1\nplan "
#define CHECK "check "
#define HEX_DIGITS 32u
#define CHECK_BYTES (sizeof CHECK - 1 + HEX_DIGITS + 1) /* of the last line */

/* ---- pieces as tensors and elements ---- */

static uint64_t tensor_of(void *arg, uint32_t piece)
{
    const struct wf_ring *r = arg;
    const struct wf_plan *plan = r->options->plan;
    size_t low = 0, high = plan->n_model_jobs;
    while (high - low > 1) { /* the last one that begins at or before the piece */
        size_t middle = low + (high - low) / 2;
        if (r->model_piece[plan->model_jobs[middle] - plan->jobs] <= piece)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool piece_at(void *arg, uint64_t tensor, uint64_t element, uint32_t *piece)
{
    const struct wf_ring *r = arg;
    const struct wf_plan *plan = r->options->plan;
    if (tensor >= plan->n_model_jobs || element >= plan->model_jobs[tensor]->count)
        return false;
    const struct wf_job *job = plan->model_jobs[tensor];
    *piece = wf_gather_piece(r, r->model, job, element * (job->bytes / job->count));
    return true;
}

static struct wf_unit_places places_of(struct wf_ring *r)
{
    return (struct wf_unit_places){tensor_of, piece_at, r};
}

/* ---- writing ---- */

static int write_durably(struct wf_ring *r, const struct wf_str *text)
{
    const char *path = r->options->statistics;
    size_t n_last, n_folder = (size_t)(wf_path_last(path, &n_last) - path);
    struct wf_str next = {0}, folder = {0};
    wf_str_printf(&next, "%s.new", path);
    wf_str_add(&folder, path, n_folder);
    int status = wf_str_finish(&next, r->e);
    if (!status)
        status = wf_str_finish(&folder, r->e);
    if (!status)
        status = wf_write_small(r->e, next.text, text->text, text->n);
    if (!status)
        status = wf_rename(r->e, next.text, path);
    if (!status)
        status = wf_sync_folder(r->e, folder.text);
    wf_str_free(&next);
    wf_str_free(&folder);
    return status;
}

/* The file as it should be now; *check: of all but the last line. */
static int format(struct wf_ring *r, struct wf_str *text, struct wf_hash128 *check)
{
    struct wf_unit_places places = places_of(r);
    char hex[HEX_DIGITS + 1];
    wf_str_printf(text, HEAD "%s\n", wf_hash128_hex(&r->options->plan->hash, hex));
    wf_unit_save(r->model->unit, &places, text);
    int status = wf_str_finish(text, r->e);
    if (status)
        return status;
    *check = wf_xxh128(text->text, text->n);
    wf_str_printf(text, CHECK "%s\n", wf_hash128_hex(check, hex));
    return wf_str_finish(text, r->e);
}

int wf_statistics_keep(struct wf_ring *r)
{
    struct wf_str text = {0};
    struct wf_hash128 check;
    if (!r->options->statistics || !r->options->keeps_statistics)
        return WF_OK;
    int status = format(r, &text, &check);
    if (!status && !wf_hash128_equal(&check, &r->statistics))
        status = write_durably(r, &text);
    if (!status)
        r->statistics = check;
    wf_str_free(&text);
    return status;
}

/* ---- reading ---- */

/* The lines between head and check; NULL: the file is not what it should be. */
static const char *body_of(const struct wf_plan *plan, const char *text, size_t n, size_t *n_body)
{
    char head[sizeof HEAD + HEX_DIGITS + 1], check[CHECK_BYTES + 1], hex[HEX_DIGITS + 1];
    size_t n_head = sizeof head - 1, end = n - CHECK_BYTES;
    if (n < n_head + CHECK_BYTES)
        return NULL;
    struct wf_hash128 hash = wf_xxh128(text, end);
    snprintf(check, sizeof check, CHECK "%s\n", wf_hash128_hex(&hash, hex));
    snprintf(head, sizeof head, HEAD "%s\n", wf_hash128_hex(&plan->hash, hex));
    if (memcmp(text, head, n_head) != 0 || memcmp(text + end, check, CHECK_BYTES) != 0)
        return NULL;
    *n_body = end - n_head;
    return text + n_head;
}

static bool restore_text(struct wf_ring *r, const char *text, size_t n)
{
    struct wf_unit_places places = places_of(r);
    size_t n_body = 0;
    const char *body = body_of(r->options->plan, text, n, &n_body);
    return body && wf_unit_restore(r->model->unit, &places, body, n_body);
}

/* What a file that was just read, or none, comes to: nothing is written until there is more. */
static int note_state(struct wf_ring *r)
{
    struct wf_str text = {0};
    int status = format(r, &text, &r->statistics);
    wf_str_free(&text);
    return status;
}

/* What the file says, if it is there; *text is freed by the caller. */
static int read_file(struct wf_ring *r, char **text, size_t *n)
{
    const char *path = r->options->statistics;
    struct wf_err e = {0};
    *text = NULL;
    *n = 0;
    if (!path || !r->options->keeps_statistics || !wf_exists(path))
        return WF_OK;
    if (wf_read_small(&e, WF_INPUT, path, FILE_BYTES_MAX, text, n))
        wf_log(WF_LOG_INFO, "%s: statistics are gathered anew", e.text);
    return WF_OK;
}

/* Every rank goes on from what one has read: others may see an older file for a while, as network
 * file systems are. */
static int share_text(struct wf_ring *r, char **text, size_t *n)
{
    const struct wf_join *join = r->options->join;
    uint64_t bytes = *n;
    size_t total = 0;
    if (!join)
        return WF_OK;
    int status = join->sum(join->arg, r->e, &bytes, 1);
    if (status || !bytes)
        return status;
    char *all = wf_alloc(r->e, WF_MEM_TEXT, bytes + 1, 1, "statistics");
    if (!all)
        return WF_MACHINE;
    status = join->gather(join->arg, r->e, *text ? *text : "", *n, all, bytes, &total);
    wf_free(*text);
    *text = all;
    *n = total;
    return status;
}

static void restore(struct wf_ring *r, const char *text, size_t n)
{
    const char *path = r->options->statistics;
    bool restored = restore_text(r, text, n), tells = r->options->keeps_statistics;
    enum wf_step step = wf_unit_step(r->model->unit);
    r->model->done = step == WF_STEP_MAP;
    r->model->step_name = wf_step_name(step);
    if (!restored && tells)
        wf_log(WF_LOG_INFO, "%s is of no use: statistics are gathered anew", path);
    else if (tells)
        wf_log(WF_LOG_INFO, "resuming: %s statistics of the model are in %s",
               r->model->done ? "all" : "some", path);
    if (restored && r->model->done)
        wf_remarks_collect(r, r->model->unit, NULL);
}

int wf_statistics_restore(struct wf_ring *r)
{
    char *text;
    size_t n;
    int status = read_file(r, &text, &n);
    if (!status)
        status = share_text(r, &text, &n);
    if (!status && text)
        restore(r, text, n);
    wf_free(text);
    return status ? status : note_state(r);
}
