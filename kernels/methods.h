/* methods.h - the list of methods: one include per file, one X(name, map) line per published name.
 *
 * Included several times, on purpose: with WF_DESCRIBE for the registry (src/method/method.c), with
 * WF_ELEMENTS, wf_real and WF_NAME set for each type by a frame. `map` is the element function.
 * Keep the lines sorted by name.
 */
#include "method/delta.h"
#include "method/linear.h"
#include "method/passthrough.h"

#ifndef WF_METHOD_LIST
#define WF_METHOD_LIST(X)                                                                          \
    X(linear, linear_map)                                                                          \
    X(passthrough, passthrough_map)                                                                \
    X(task_arithmetic, delta_map)
#endif
