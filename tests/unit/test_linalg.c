/* test_linalg.c - the processor's table of linear algebra does what every table must. */
#include "linalg_checks.h"

int main(void)
{
    const struct CMUnitTest tests[] = {LINALG_CHECKS};
    return cmocka_run_group_tests(tests, open_table, NULL);
}
