/* columns.c - names of a source's tensors in the result; see columns.h. */
#include "columns.h"

#include <stdlib.h>
#include <string.h>

#include "../format/tied_head.h"
#include "../format/vocab_tensors.h"

struct filling {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_column_range *range;
    struct wf_stacks stacks; /* what is numbered behind the main one's depth is behind the layers */
    struct wf_column *column;
};

static int by_name(const void *a, const void *b)
{
    const struct wf_column_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void add(struct filling *f, const char *name, const struct wf_tensor *t, long layer)
{
    f->column->entries[f->column->n++] = (struct wf_column_entry){name, t, layer};
}

/* A tensor of the main stack: its layer is moved, or left out. */
static int add_layer(struct filling *f, const struct wf_tensor *t)
{
    const struct wf_column_range *r = f->range;
    long layer = wf_layer_of(t->name), moved = layer - r->from + r->to;
    bool behind = layer >= f->stacks.depth;
    if (behind)
        moved = r->to + r->n + layer - f->stacks.depth;
    if (behind ? !r->behind : layer < r->from || layer >= r->from + r->n)
        return WF_OK;
    size_t prefix_n = f->stacks.main->prefix_n + (f->stacks.main->prefix_n != 0); /* and its '.' */
    const char *rest = t->name + prefix_n + strcspn(t->name + prefix_n, ".");
    const char *name = moved == layer ? t->name
                                      : wf_arena_printf(f->a, f->e, "%.*s%ld%s", (int)prefix_n,
                                                        t->name, moved, rest);
    if (!name)
        return WF_MACHINE;
    add(f, name, t, behind ? -1 : layer - r->from);
    return WF_OK;
}

static int add_sliced(struct filling *f, const struct wf_tensor *t)
{
    const struct wf_stack *stack = wf_stack_of(&f->stacks, t->name);
    if (stack == f->stacks.main)
        return add_layer(f, t);
    bool behind = !stack && wf_is_behind_layers(t->name);
    if (behind ? f->range->behind : f->range->before)
        add(f, t->name, t, -1);
    return WF_OK;
}

static int check_layers(struct filling *f, const char *where)
{
    const struct wf_column_range *r = f->range;
    if (!f->stacks.main)
        return wf_fail(f->e, WF_USAGE, "%s: %s has no layers (no tensor's name holds a number)",
                       where, f->column->text);
    if (r->from + r->n <= f->stacks.depth)
        return WF_OK;
    return wf_fail(f->e, WF_USAGE, "%s: 'layer_range' is [%ld, %ld], and %s has %ld layers", where,
                   r->from, r->from + r->n, f->column->text, f->stacks.depth);
}

/* Numbers are written anew when layers move: layers.1 and layers.01 would be one then. */
static int check_twins(struct filling *f, const struct wf_ckpt *ckpt, const char *where)
{
    const struct wf_column_entry *at = f->column->entries;
    for (size_t i = 1; i < f->column->n; i++)
        if (!by_name(&at[i - 1], &at[i]))
            return wf_fail(f->e, WF_USAGE,
                           "%s: tensors '%s' and '%s' of %s would both be '%s' in the result; "
                           "rename one of them in the file",
                           where, at[i - 1].tensor->name, at[i].tensor->name, ckpt->place.path,
                           at[i].name);
    return WF_OK;
}

int wf_column_fill(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                   const char *where, const struct wf_column_range *range, struct wf_column *column)
{
    struct filling f = {.e = e, .a = a, .range = range, .column = column};
    column->n = 0;
    column->entries = wf_arena_alloc(a, e, ckpt->n_tensors + 1, sizeof *column->entries);
    int status = column->entries ? WF_OK : WF_MACHINE;
    if (!status && range->has_layers)
        status = wf_stacks_find(e, a, ckpt, range->part ? wf_model_part_has : NULL, range->part,
                                &f.stacks);
    if (!status && range->has_layers)
        status = check_layers(&f, where);
    for (size_t i = 0; !status && i < ckpt->n_tensors; i++) {
        const struct wf_tensor *t = &ckpt->tensors[i];
        if (range->part && !wf_model_part_has(range->part, t->name))
            continue;
        if (range->has_layers)
            status = add_sliced(&f, t);
        else
            add(&f, t->name, t, -1);
    }
    if (!status && range->has_layers) {
        qsort(column->entries, column->n, sizeof *column->entries, by_name);
        status = check_twins(&f, ckpt, where);
    }
    return status;
}

/* ---- tied heads ---- */

static const struct wf_column_entry *find(const struct wf_column *c, const char *name)
{
    const struct wf_column_entry wanted = {.name = name};
    return bsearch(&wanted, c->entries, c->n, sizeof *c->entries, by_name);
}

/* The name of the first head that a column has. */
static const char *head_of(const struct wf_column *columns, size_t n)
{
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < columns[c].n; i++)
            if (wf_is_head(columns[c].entries[i].name))
                return columns[c].entries[i].name;
    return NULL;
}

static void give_table(struct wf_column *column, const char *head, const struct wf_tensor *table)
{
    column->entries[column->n++] = (struct wf_column_entry){head, table, -1};
    qsort(column->entries, column->n, sizeof *column->entries, by_name);
}

size_t wf_columns_tie(const struct wf_plan *plan, struct wf_column *columns, size_t n)
{
    const char *head = head_of(columns, n);
    size_t n_tied = 0;
    for (size_t c = 0; head && c < n; c++) {
        const struct wf_ckpt *k = plan->ckpts[columns[c].ckpt].ckpt;
        const struct wf_tensor *table = wf_says_tied(k) ? wf_vocab_table(k) : NULL;
        if (!table || find(&columns[c], head))
            continue;
        give_table(&columns[c], head, table);
        n_tied++;
    }
    return n_tied;
}

/* The name that some checkpoint of the plan has for a head. */
static const char *any_head(const struct wf_plan *plan)
{
    for (size_t c = 0; c < plan->n_ckpts; c++)
        for (size_t i = 0; i < plan->ckpts[c].ckpt->n_tensors; i++)
            if (wf_is_head(plan->ckpts[c].ckpt->tensors[i].name))
                return plan->ckpts[c].ckpt->tensors[i].name;
    return NULL;
}

size_t wf_columns_end_tied(const struct wf_plan *plan, struct wf_column *columns, size_t n)
{
    const char *head = head_of(columns, n) ? NULL : any_head(plan);
    for (size_t c = 0; head && c < n; c++) {
        const struct wf_ckpt *k = plan->ckpts[columns[c].ckpt].ckpt;
        if (!wf_says_tied(k) || !wf_vocab_table(k))
            return 0;
    }
    for (size_t c = 0; head && c < n; c++)
        give_table(&columns[c], head, wf_vocab_table(plan->ckpts[columns[c].ckpt].ckpt));
    return head ? n : 0;
}
