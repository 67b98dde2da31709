/* linalg_fixture.h - the table of linear algebra for tests, which are skipped where there is none.
 */
#ifndef WF_LINALG_FIXTURE_H
#define WF_LINALG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/linalg/linalg.h"

static const struct wf_linalg *la;

static inline int open_table(void **state)
{
    struct wf_err e = {0};
    (void)state;
    if (wf_linalg_cpu(&e, &la))
        print_message("%s\n", e.text);
    return 0;
}

#define NEEDS_LIBRARY()                                                                            \
    do {                                                                                           \
        if (!la)                                                                                   \
            skip();                                                                                \
    } while (0)

#endif
