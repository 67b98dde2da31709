/* tied_check.c - see tied_check.h. */
#include "tied_check.h"

#include <string.h>

#include "../base/file.h"
#include "../base/log.h"
#include "../base/num.h"
#include "../format/tied_head.h"
#include "../format/vocab_tensors.h"

#define PLACES 32u
#define PLACE_BYTES 4096u

/* As it is in a file of the model. */
static bool is_plain(const struct wf_tensor *t)
{
    return !t->addend && !t->fused;
}

static const struct wf_tensor *as_stored(const struct wf_tensor *t)
{
    return t->rows ? t->rows->stored : t;
}

/* Both tensors open, to be compared place by place. */
struct pair {
    const struct wf_ckpt *ckpt;
    const struct wf_tensor *head, *table;
    int head_fd, table_fd;
};

static int open_file(const struct pair *p, const struct wf_tensor *t, int *fd)
{
    struct wf_err none = {0};
    struct wf_file_id id;
    return wf_open_read(&none, WF_INPUT, p->ckpt->files[t->file].path, fd, &id);
}

static bool differs_at(const struct pair *p, uint64_t at)
{
    char head[PLACE_BYTES], table[PLACE_BYTES];
    struct wf_err none = {0};
    size_t n = (size_t)wf_min_u64(PLACE_BYTES, p->head->bytes - at);
    return !wf_pread(&none, p->head_fd, "head", head, n, p->head->offset + at) &&
           !wf_pread(&none, p->table_fd, "table", table, n, p->table->offset + at) &&
           memcmp(head, table, n) != 0;
}

static bool differs(struct pair *p)
{
    bool found = false;
    p->head_fd = p->table_fd = -1;
    if (!open_file(p, p->head, &p->head_fd) && !open_file(p, p->table, &p->table_fd))
        for (uint64_t i = 0; i < PLACES && !found; i++)
            found = differs_at(p, p->head->bytes / PLACES * i);
    wf_close(p->head_fd);
    wf_close(p->table_fd);
    return found;
}

static void check(const struct wf_plan *plan, const struct wf_plan_ckpt *k)
{
    const struct wf_tensor *head = wf_tied_head(k->ckpt), *table = wf_vocab_table(k->ckpt);
    if (!head || !table || !is_plain(head) || !is_plain(table))
        return;
    struct pair p = {.ckpt = k->ckpt, .head = as_stored(head), .table = as_stored(table)};
    bool alike = p.head->dtype == p.table->dtype && p.head->bytes == p.table->bytes;
    if (!alike || !p.head->bytes || !is_plain(p.head) || !is_plain(p.table) || !differs(&p))
        return;
    wf_log(WF_LOG_WARNING,
           "%s:%d: config.json of %s ties the head to the embedding table, but '%s' is stored with "
           "other values than '%s': programs that go by the config never read it; both are merged "
           "as they are stored, so set tie_word_embeddings to false there if the head counts",
           plan->recipe->path, k->line, k->text, p.head->name, p.table->name);
}

void wf_tied_check(const struct wf_plan *plan)
{
    for (size_t c = 0; c < plan->n_ckpts && !wf_log_rank(); c++) /* all ranks see the same */
        check(plan, &plan->ckpts[c]);
}
