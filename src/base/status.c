/* status.c - the error slot. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line, whatever names a hostile file put into it. UTF-8 passes. */
static void clean(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            *text = '?';
    }
}

static int record(struct wf_err *e, enum wf_status status, int number, const char *format,
                  va_list args)
{
    int expected = 0;
    if (!atomic_compare_exchange_strong(&e->claimed, &expected, 1))
        return (int)status;
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    if (number != 0 && n >= 0 && (size_t)n < sizeof e->text - 1)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", strerror(number));
    clean(e->text);
    atomic_store(&e->status, (int)status);
    return (int)status;
}

int wf_fail(struct wf_err *e, enum wf_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int s = record(e, status, 0, format, args);
    va_end(args);
    return s;
}

int wf_fail_errno(struct wf_err *e, enum wf_status status, int number, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int s = record(e, status, number, format, args);
    va_end(args);
    return s;
}

int wf_err_status(struct wf_err *e)
{
    return atomic_load(&e->status);
}

void wf_err_clear(struct wf_err *e)
{
    e->text[0] = 0;
    atomic_store(&e->status, 0);
    atomic_store(&e->claimed, 0);
}
