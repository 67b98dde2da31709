/* frame_tree.h - joins leaves of the canonical tree of sums and maxima: for frames that make
 * leaves, whoever made them.
 *
 *   leaves of a row  --perfect binary tree by leaf index-->  the row's value
 */
#ifndef WF_FRAME_TREE_H
#define WF_FRAME_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline double sum_join(bool maximum, double a, double b)
{
    return maximum ? (a > b ? a : b) : a + b;
}

static void sum_join_nodes(const double *left, double *right, uint32_t maxima, uint32_t terms)
{
    for (uint32_t t = 0; t < terms; t++)
        right[t] = sum_join(t < maxima, left[t], right[t]);
}

/* Puts leaf number `leaf` into the tree, in ascending order: like adding one to a binary counter,
 * tree[level] waits for its right neighbour. `value` is used up. */
static void sum_put_leaf(double *tree, uint64_t leaf, uint32_t maxima, uint32_t terms,
                         double *value)
{
    size_t level = 0;
    for (; leaf >> level & 1; level++)
        sum_join_nodes(tree + level * terms, value, maxima, terms);
    memcpy(tree + level * terms, value, terms * sizeof *value);
}

/* The value of a tree of `leaves` leaves; a node without a right neighbour passes up as it is. */
static void sum_tree(const double *tree, uint64_t leaves, uint32_t maxima, uint32_t terms,
                     double *out)
{
    bool begun = false;
    for (size_t level = 0; leaves >> level; level++) {
        if (!(leaves >> level & 1))
            continue;
        if (begun)
            sum_join_nodes(tree + level * terms, out, maxima, terms);
        else
            memcpy(out, tree + level * terms, terms * sizeof *out);
        begun = true;
    }
}

#endif
