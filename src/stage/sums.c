/* sums.c - the canonical tree of a FOLD: a hash table of nodes that wait for their siblings. */
#include "sums.h"

#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/num.h"

/* Levels above the leaves. */
static unsigned depth(uint64_t leaves)
{
    return leaves > 1 ? 64u - (unsigned)__builtin_clzll(leaves - 1) : 0;
}

/* Nodes, of which a level has at most per_run for each run, and so many of each pair of siblings.
 * One run more, for the nodes that are being moved here. */
static uint32_t capacity(uint64_t leaves, uint64_t runs, uint64_t per_run, uint64_t of_pair)
{
    unsigned top = depth(leaves);
    uint64_t nodes = 1; /* the root */
    for (unsigned level = 0; level < top; level++)
        nodes += wf_min_u64(per_run * (runs + 1), of_pair << (top - 1 - level));
    return (uint32_t)wf_min_u64(nodes, UINT32_MAX / 4);
}

uint32_t wf_sums_capacity(uint64_t leaves, uint64_t runs)
{
    return capacity(leaves, runs, 2, 1);
}

/* What a run left is two nodes a level, and where two runs of different ranks meet, one comes of
 * it. One sibling may be parked while the other is in the tree. */
uint32_t wf_sums_capacity_joined(uint64_t leaves, uint64_t runs)
{
    return capacity(leaves, runs, 3, 2);
}

void wf_sums_place(struct wf_sums *s, struct wf_room *room, uint32_t capacity, uint32_t terms_max)
{
    s->capacity = capacity;
    s->n_heads = 1;
    while (s->n_heads < capacity)
        s->n_heads *= 2;
    s->nodes = wf_room_take(room, (uint64_t)capacity + 1, sizeof *s->nodes);
    s->heads = wf_room_take(room, s->n_heads, sizeof *s->heads);
    s->terms = wf_room_take(room, (uint64_t)capacity + 1, (uint64_t)terms_max * sizeof *s->terms);
}

void wf_sums_begin(struct wf_sums *s, uint32_t n_terms, uint32_t maxima, uint64_t leaves)
{
    memset(s->heads, 0, s->n_heads * sizeof *s->heads);
    memset(s->terms, 0, n_terms * sizeof *s->terms); /* node 0 is the sum of nothing */
    s->n_terms = n_terms;
    s->maxima = maxima;
    s->leaves = leaves;
    s->touched = s->free = 0;
    s->packed = 0;
}

static uint32_t *head_of(const struct wf_sums *s, unsigned level, uint64_t index)
{
    uint64_t mixed = (index * 64 + level) * 0x9e3779b97f4a7c15u;
    return &s->heads[mixed >> 32 & (s->n_heads - 1)];
}

static double *terms_of(const struct wf_sums *s, uint32_t node)
{
    return s->terms + (uint64_t)node * s->n_terms;
}

/* Where the table refers to a node, or would. */
static uint32_t *link_to(const struct wf_sums *s, unsigned level, uint64_t index)
{
    uint32_t *link = head_of(s, level, index);
    while (*link && (s->nodes[*link].index != index || s->nodes[*link].level != level))
        link = &s->nodes[*link].next;
    return link;
}

/* Takes a node out of the table, without freeing it; 0 if it is not there. */
static uint32_t take(struct wf_sums *s, unsigned level, uint64_t index)
{
    uint32_t *link = link_to(s, level, index), node = *link;
    if (node)
        *link = s->nodes[node].next;
    return node;
}

static void put(struct wf_sums *s, uint32_t node, unsigned level, uint64_t index)
{
    uint32_t *head = head_of(s, level, index);
    s->nodes[node] = (struct wf_sums_node){index, *head, (uint8_t)level, true, false};
    *head = node;
}

static uint32_t new_node(struct wf_sums *s)
{
    uint32_t node = s->free;
    if (node) {
        s->free = s->nodes[node].next;
    } else if (s->touched < s->capacity) {
        node = ++s->touched;
    } else {
        wf_log(WF_LOG_ERROR, "internal: a tree of %u waiting nodes is full", s->capacity);
        abort();
    }
    return node;
}

static void free_node(struct wf_sums *s, uint32_t node)
{
    s->nodes[node].next = s->free;
    s->nodes[node].used = false;
    s->free = node;
}

/* to = left joined with right; `to` is one of them. */
static void join(const struct wf_sums *s, double *to, const double *left, const double *right)
{
    uint32_t t = 0;
    for (; t < s->maxima; t++)
        to[t] = left[t] > right[t] ? left[t] : right[t];
    for (; t < s->n_terms; t++)
        to[t] = left[t] + right[t];
}

void wf_sums_add(struct wf_sums *s, unsigned level, uint64_t index, const double *terms)
{
    uint32_t mine = 0; /* the node that holds `terms` once they are joined with another's */
    for (unsigned top = depth(s->leaves); level < top; level++, index /= 2) {
        if (!(index & 1) && (index + 1) << level >= s->leaves)
            continue; /* there is no right child */
        uint32_t sibling = take(s, level, index ^ 1);
        if (!sibling)
            break;
        double *other = terms_of(s, sibling);
        if (index & 1)
            join(s, other, other, terms);
        else
            join(s, other, terms, other);
        if (mine)
            free_node(s, mine);
        mine = sibling;
        terms = other;
    }
    if (!mine) {
        mine = new_node(s);
        memcpy(terms_of(s, mine), terms, s->n_terms * sizeof *terms);
    }
    put(s, mine, level, index);
}

void wf_sums_move(struct wf_sums *to, struct wf_sums *from)
{
    for (uint32_t node = 1; node <= from->touched; node++) {
        const struct wf_sums_node *n = &from->nodes[node];
        if (n->used)
            wf_sums_add(to, n->level, n->index, terms_of(from, node));
    }
    wf_sums_begin(from, from->n_terms, from->maxima, from->leaves);
}

void wf_sums_park(struct wf_sums *s)
{
    memset(s->heads, 0, s->n_heads * sizeof *s->heads);
    s->packed = 0;
    for (uint32_t node = 1; node <= s->touched; node++)
        s->nodes[node].parked = s->nodes[node].used;
}

uint32_t wf_sums_pack(struct wf_sums *s, double *to, uint32_t most)
{
    uint32_t n = 0;
    while (n < most && s->packed < s->touched) {
        uint32_t node = ++s->packed;
        const struct wf_sums_node *from = &s->nodes[node];
        if (!from->parked)
            continue;
        double *record = to + (uint64_t)n++ * wf_sums_record(s->n_terms);
        record[0] = from->level;
        record[1] = (double)from->index;
        memcpy(record + 2, terms_of(s, node), s->n_terms * sizeof *record);
        free_node(s, node);
    }
    return n;
}

const double *wf_sums_total(const struct wf_sums *s)
{
    uint32_t root = s->leaves ? *link_to(s, depth(s->leaves), 0) : 0;
    if (s->leaves && !root) {
        wf_log(WF_LOG_ERROR, "internal: leaves of a fold are missing");
        abort();
    }
    return terms_of(s, root);
}
