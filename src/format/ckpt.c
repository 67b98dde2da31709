/* ckpt.c - opening a checkpoint: headers of all its files, joined into one table; see ckpt.h.
 *
 *   weight files ──► header of each ──► rows (tensor, file), sorted by name ──┐
 *   index, if any: names sorted ──────────────────────────────────────────────┴─ merge ──► table
 */
#include "ckpt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/str.h"
#include "folder.h"
#include "st_header.h"
#include "weight_files.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

struct opening {
    struct wf_err *e;
    struct wf_arena *a;       /* what the checkpoint keeps */
    struct wf_arena *scratch; /* index and file lists, gone when it is open */
    struct wf_ckpt *c;
    struct wf_weight_files weights;
    struct wf_tensor *rows; /* wf_realloc; every tensor of every file */
    size_t n_rows, rows_capacity;
};

static int out_of_memory(const struct opening *o)
{
    return wf_err_status(o->e);
}

/* ---- headers ----------------------------------------------------------------------------------
 */

static int add_rows(struct opening *o, uint32_t file, const struct wf_st_header *h)
{
    if (h->n_tensors > o->rows_capacity - o->n_rows) {
        size_t capacity = o->n_rows + h->n_tensors;
        if (capacity < 2 * o->rows_capacity)
            capacity = 2 * o->rows_capacity;
        struct wf_tensor *rows =
            wf_realloc(o->e, o->rows, capacity, sizeof *rows, "the table of tensors");
        if (!rows)
            return out_of_memory(o);
        o->rows = rows;
        o->rows_capacity = capacity;
    }
    for (size_t i = 0; i < h->n_tensors; i++) {
        const struct wf_st_tensor *t = &h->tensors[i];
        o->rows[o->n_rows++] = (struct wf_tensor){
            .name = t->name,
            .dtype = t->dtype,
            .n_dims = t->n_dims,
            .shape = t->shape,
            .count = t->count,
            .bytes = t->end - t->begin,
            .file = file,
            .offset = h->data_start + t->begin,
        };
    }
    return WF_OK;
}

/* Reads the header of files[index], whose path and name are set. */
static int open_file(struct opening *o, uint32_t index)
{
    struct wf_ckpt_file *f = &o->c->files[index];
    struct wf_st_header header;
    int fd, s = wf_place_check(o->e, &o->c->place, f->path);
    if (!s)
        s = wf_open_read(o->e, WF_INPUT, f->path, &fd, &f->id);
    if (s)
        return s;
    s = wf_st_read(o->e, o->a, f->path, fd, f->id.bytes, &header);
    wf_close(fd);
    if (s)
        return s;
    f->data_start = header.data_start;
    f->header_hash = header.hash;
    if (o->c->n_files == 1) {
        o->c->metadata = header.metadata;
        o->c->n_metadata = header.n_metadata;
    }
    return add_rows(o, index, &header);
}

static int open_files(struct opening *o)
{
    struct wf_ckpt *c = o->c;
    c->n_files = o->weights.n_files;
    c->files = wf_arena_alloc(o->a, o->e, c->n_files, sizeof *c->files);
    if (!c->files)
        return out_of_memory(o);
    for (uint32_t i = 0; i < c->n_files; i++) {
        struct wf_ckpt_file *f = &c->files[i];
        f->name = wf_arena_strdup(o->a, o->e, o->weights.files[i]);
        f->path = wf_path_join(o->a, o->e, c->place.path, o->weights.files[i]);
        if (!f->name || !f->path)
            return out_of_memory(o);
        int s = open_file(o, i);
        if (s)
            return s;
    }
    return WF_OK;
}

/* ---- the join ---------------------------------------------------------------------------------
 */

static int by_name_and_file(const void *a, const void *b)
{
    const struct wf_tensor *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

/* Without an index every tensor counts, so no name may stand in two files. */
static int check_unique(const struct opening *o)
{
    const struct wf_tensor *rows = o->rows;
    for (size_t i = 1; i < o->n_rows; i++)
        if (!strcmp(rows[i - 1].name, rows[i].name))
            return wf_fail(o->e, WF_INPUT, "%s: tensor '%s' is in both %s and %s", o->c->place.path,
                           rows[i].name, o->c->files[rows[i - 1].file].name,
                           o->c->files[rows[i].file].name);
    return WF_OK;
}

struct mismatch {
    const struct wf_st_index_entry *entry; /* the first that has no tensor in its file */
    size_t n;
    const char *elsewhere; /* another file that has a tensor of that name, or NULL */
};

static int report_mismatch(const struct opening *o, const struct mismatch *m)
{
    const struct wf_ckpt *c = o->c;
    const char *path = c->place.path;
    if (o->weights.both)
        return wf_fail(o->e, WF_INPUT,
                       "%s: both model.safetensors and an index, and they differ: '%s' is only in "
                       "%s; to use the single file name it, else remove one of the two",
                       path, m->entry ? m->entry->name : c->first_ignored,
                       m->entry ? "the index" : "model.safetensors");
    const char *file = c->files[m->entry->file].name;
    if (m->elsewhere)
        return wf_fail(o->e, WF_INPUT,
                       "%s/%s: tensor '%s' should be in %s but is in %s (%zu wrong in all); "
                       "the index and the shards do not belong together",
                       path, WF_INDEX_NAME, m->entry->name, file, m->elsewhere, m->n);
    return wf_fail(o->e, WF_INPUT,
                   "%s/%s: tensor '%s' is not in %s (%zu missing in all); the index and the "
                   "shards do not belong together",
                   path, WF_INDEX_NAME, m->entry->name, file, m->n);
}

static void ignore_row(struct wf_ckpt *c, const struct wf_tensor *row)
{
    if (!c->n_ignored++)
        c->first_ignored = row->name;
}

/* Both lists are sorted by name. Keeps, in place, the rows that the index names. */
static int apply_index(struct opening *o)
{
    const struct wf_st_index *index = &o->weights.index;
    struct mismatch m = {0};
    size_t kept = 0, r = 0;
    for (size_t i = 0; i < index->n; i++) {
        const struct wf_st_index_entry *entry = &index->entries[i];
        const char *elsewhere = NULL;
        bool found = false;
        int order = -1;
        for (; r < o->n_rows && (order = strcmp(o->rows[r].name, entry->name)) <= 0; r++) {
            if (order == 0 && o->rows[r].file == entry->file) {
                o->rows[kept++] = o->rows[r];
                found = true;
                continue;
            }
            ignore_row(o->c, &o->rows[r]);
            if (order == 0)
                elsewhere = o->c->files[o->rows[r].file].name;
        }
        if (!found && !m.n++) {
            m.entry = entry;
            m.elsewhere = elsewhere;
        }
    }
    for (; r < o->n_rows; r++)
        ignore_row(o->c, &o->rows[r]);
    if (m.n || (o->weights.both && o->c->n_ignored))
        return report_mismatch(o, &m);
    o->n_rows = kept;
    return WF_OK;
}

static int build_table(struct opening *o)
{
    struct wf_ckpt *c = o->c;
    if (o->n_rows)
        qsort(o->rows, o->n_rows, sizeof *o->rows, by_name_and_file);
    int s = o->weights.has_index ? apply_index(o) : check_unique(o);
    if (s)
        return s;
    c->tensors = wf_arena_alloc(o->a, o->e, o->n_rows, sizeof *c->tensors);
    if (!c->tensors)
        return out_of_memory(o);
    c->n_tensors = o->n_rows;
    if (o->n_rows)
        memcpy(c->tensors, o->rows, o->n_rows * sizeof *c->tensors);
    return WF_OK;
}

/* ---- config.json ------------------------------------------------------------------------------
 */

static int read_config(struct opening *o)
{
    struct wf_ckpt *c = o->c;
    char *text = NULL;
    char *path = wf_path_join(o->a, o->e, c->place.path, "config.json");
    if (!path)
        return out_of_memory(o);
    int s = wf_place_check(o->e, &c->place, path);
    if (!s)
        s = wf_read_small(o->e, WF_INPUT, path, CONFIG_BYTES_MAX, &text, &c->config_n);
    if (s)
        return s;
    c->config_path = path;
    c->config_text = wf_arena_strndup(o->a, o->e, text, c->config_n);
    wf_free(text);
    if (!c->config_text)
        return out_of_memory(o);
    s = wf_json_parse(o->e, o->a, path, c->config_text, c->config_n, WF_JSON_CONFIG, &c->config);
    if (!s && c->config->kind != WF_JSON_OBJECT)
        s = wf_fail(o->e, WF_INPUT, "%s: expected a JSON object", path);
    return s;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int open_folder(struct opening *o)
{
    struct wf_ckpt *c = o->c;
    const char **names;
    size_t n_names;
    int s = wf_folder_names(o->e, o->scratch, c->place.path, &names, &n_names);
    if (!s)
        s = wf_weight_files_find(o->e, o->scratch, &c->place, names, n_names, &o->weights);
    c->is_adapter = o->weights.is_adapter;
    if (!s && wf_folder_has(names, n_names, "config.json"))
        s = read_config(o);
    if (!s)
        s = open_files(o);
    return s ? s : build_table(o);
}

static int open_single(struct opening *o)
{
    struct wf_ckpt *c = o->c;
    c->n_files = 1;
    c->files = wf_arena_alloc(o->a, o->e, 1, sizeof *c->files);
    if (!c->files)
        return out_of_memory(o);
    size_t n;
    const char *name = wf_path_last(c->place.path, &n);
    c->files[0].path = c->place.path;
    c->files[0].name = wf_arena_strndup(o->a, o->e, name, n);
    if (!c->files[0].name)
        return out_of_memory(o);
    int s = open_file(o, 0);
    return s ? s : build_table(o);
}

int wf_ckpt_open(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                 struct wf_ckpt *out)
{
    struct wf_arena scratch = {0};
    struct opening o = {.e = e, .a = a, .scratch = &scratch, .c = out};
    memset(out, 0, sizeof *out);
    out->place = *place;
    out->is_folder = wf_is_folder(place->path);
    int s = out->is_folder ? open_folder(&o) : open_single(&o);
    wf_free(o.rows);
    wf_arena_destroy(&scratch);
    return s;
}

static int name_against_tensor(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct wf_tensor *)tensor)->name);
}

const struct wf_tensor *wf_ckpt_find(const struct wf_ckpt *c, const char *name)
{
    if (!c->n_tensors)
        return NULL;
    return bsearch(name, c->tensors, c->n_tensors, sizeof *c->tensors, name_against_tensor);
}

long wf_layer_of(const char *name)
{
    for (const char *part = name; *part;) {
        size_t n = strcspn(part, ".");
        if (!part[n])
            return -1;
        if (n && n <= 9 && strspn(part, "0123456789") == n) {
            long layer = 0;
            for (size_t i = 0; i < n; i++)
                layer = layer * 10 + (part[i] - '0');
            return layer;
        }
        part += n + 1;
    }
    return -1;
}
