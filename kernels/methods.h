/* methods.h - the lists of methods and of their element functions, and one include per file.
 *
 * Included several times, on purpose: with WF_DESCRIBE for the registry (src/method/method.c), with
 * WF_ELEMENTS, wf_real and WF_NAME set for each type by a frame. Frames expand the three lists of
 * element functions into loops and kernels; a method's table names its functions by the enums.
 */
#ifndef WF_METHOD_LIST
/* Published names, sorted: each has a row `method_NAME`. */
#define WF_METHOD_LIST(X)                                                                          \
    X(arcee_fusion)                                                                                \
    X(breadcrumbs)                                                                                 \
    X(breadcrumbs_ties)                                                                            \
    X(byom_lora)                                                                                   \
    X(dare_linear)                                                                                 \
    X(dare_ties)                                                                                   \
    X(della)                                                                                       \
    X(della_linear)                                                                                \
    X(karcher)                                                                                     \
    X(linear)                                                                                      \
    X(model_stock)                                                                                 \
    X(multislerp)                                                                                  \
    X(nearswap)                                                                                    \
    X(nuslerp)                                                                                     \
    X(passthrough)                                                                                 \
    X(pcb)                                                                                         \
    X(ram)                                                                                         \
    X(ramplus_tl)                                                                                  \
    X(sce)                                                                                         \
    X(slerp)                                                                                       \
    X(task_arithmetic)                                                                             \
    X(ties)

/* Rows that no recipe can name: what the engine does beside a merge. */
#define WF_INTERNAL_METHOD_LIST(X) X(task_delta)

/* MAP: wf_real f(const wf_real *x, int n, const struct wf_view *v) */
#define WF_MAP_LIST(X)                                                                             \
    X(arcee_map)                                                                                   \
    X(combine_map)                                                                                 \
    X(combine_delta_map)                                                                           \
    X(delta_map)                                                                                   \
    X(delta_ties_map)                                                                              \
    X(delta_band_map)                                                                              \
    X(delta_band_ties_map)                                                                         \
    X(delta_draw_map)                                                                              \
    X(delta_draw_ties_map)                                                                         \
    X(delta_rank_map)                                                                              \
    X(delta_rank_ties_map)                                                                         \
    X(delta_row_map)                                                                               \
    X(delta_row_ties_map)                                                                          \
    X(linear_map)                                                                                  \
    X(nearswap_map)                                                                                \
    X(passthrough_map)                                                                             \
    X(pcb_raw_map)                                                                                 \
    X(pcb_raw_share)                                                                               \
    X(pcb_mixed_map)                                                                               \
    X(pcb_mixed_share)                                                                             \
    X(pcb_pairs_map)                                                                               \
    X(pcb_pairs_share)                                                                             \
    X(pcb_products_map)                                                                            \
    X(pcb_products_share)                                                                          \
    X(ram_map)                                                                                     \
    X(sce_map)                                                                                     \
    X(task_delta_share)

/* FOLD: void f(const wf_real *x, int n, const struct wf_view *v, double *terms), and how many terms
 * it writes for n inputs: what the descriptor's wf_fold.terms says, known to the compiler. */
#define WF_FOLD_LIST(X)                                                                            \
    X(arcee_largest_fold, 2)                                                                       \
    X(arcee_mass_fold, 2)                                                                          \
    X(arcee_divergence_fold, 1)                                                                    \
    X(delta_band_fold, 2 * ((n)-1))                                                                \
    X(delta_draw_fold, 2 * ((n)-1))                                                                \
    X(delta_length_fold, 1)                                                                        \
    X(delta_rank_fold, 2 * ((n)-1))                                                                \
    X(delta_row_fold, 2 * ((n)-1))                                                                 \
    X(gram_fold, (n) * ((n) + 1) / 2)                                                              \
    X(gram_delta_fold, (n) * ((n)-1) / 2)                                                          \
    X(pcb_range_fold, (n) * ((n)-1))                                                               \
    X(pcb_mass_fold, (n)-1 + (n) * ((n)-1) / 2)                                                    \
    X(ramplus_fold, 2 * ((n)-1))                                                                   \
    X(sce_fold, (n)-1)

/* How many of these are joined by maximum: what the descriptor's wf_fold.maxima says. */
#define WF_FOLD_MAXIMA(id)                                                                         \
    ((id) == WF_ID_arcee_largest_fold ? 2 : (id) == WF_ID_pcb_range_fold ? WF_TERMS_MAX : 0)

/* SELECT and RANK: wf_real f(const wf_real *x, int n, const struct wf_view *v, int i). Their
 * results have no sign, and no NaN but the plainest: wf_abs at the end sees to it. Frames take the
 * bits for the key as they are. */
#define WF_KEY_LIST(X)                                                                             \
    X(arcee_key)                                                                                   \
    X(delta_key)                                                                                   \
    X(pcb_raw_key)                                                                                 \
    X(pcb_mixed_key)                                                                               \
    X(pcb_pairs_key)                                                                               \
    X(pcb_products_key)                                                                            \
    X(sce_key)

/* Does the key differ by i? Then SELECT uses it with `per_model`, else without: for such work
 * kernels are written out. */
#define WF_KEY_PER_MODEL(id) ((id) != WF_ID_arcee_key && (id) != WF_ID_sce_key)

#define WF_ENUM_ROW(name, ...) WF_ID_##name,
enum wf_map_id { WF_MAP_LIST(WF_ENUM_ROW) WF_MAP_IDS };
enum wf_fold_id { WF_FOLD_LIST(WF_ENUM_ROW) WF_FOLD_IDS };
enum wf_key_id { WF_KEY_LIST(WF_ENUM_ROW) WF_KEY_IDS };
#undef WF_ENUM_ROW
#endif

#include "method/arcee_fusion.h"
#include "method/byom_lora.h"
#include "method/delta.h"
#include "method/linear.h"
#include "method/nearswap.h"
#include "method/passthrough.h"
#include "method/pcb.h"
#include "method/ram.h"
#include "method/sce.h"
#include "method/sphere.h"
#include "method/task_delta.h"
