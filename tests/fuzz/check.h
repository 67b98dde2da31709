/* check.h - what must hold of whatever a fuzzer makes: else the program ends where the fuzzer sees
 * it.
 */
#ifndef WF_FUZZ_CHECK_H
#define WF_FUZZ_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(truth)                                                                               \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
