/* report.c - lines for people, or JSON lines. */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../base/thread.h"

#define THREADS_MAX 256

void wf_report_open(struct wf_report *r, const struct weft_options *o)
{
    *r = (struct wf_report){.out = o->out ? o->out : stdout, .json = o->json};
}

int wf_report_finish(struct wf_report *r, struct wf_err *e)
{
    bool no_memory = r->line.failed;
    wf_str_free(&r->line);
    if (fflush(r->out) && !r->write_errno)
        r->write_errno = errno ? errno : EIO;
    if (ferror(r->out) && !r->write_errno)
        r->write_errno = EIO;
    if (r->write_errno)
        return wf_fail_errno(e, WF_MACHINE, r->write_errno, "cannot write the result");
    if (no_memory)
        return wf_fail(e, WF_MACHINE, "cannot write the result: out of memory for a line of text");
    return WF_OK;
}

void wf_report_text(struct wf_report *r, const char *format, ...)
{
    char piece[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n > 0)
        wf_str_add(&r->line, piece, wf_min_u64((uint64_t)n, sizeof piece - 1));
}

/* True where the byte at p starts something that moves a terminal's cursor: C0, DEL, or one of the
 * C1 controls, which UTF-8 writes as C2 80..9F. */
static bool is_control(const unsigned char *p)
{
    return *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f);
}

/* Adds `text` with every control character, and every byte that is not UTF-8, as '?'. */
static void add_clean(struct wf_str *s, const char *text)
{
    bool utf8 = wf_utf8_valid(text, strlen(text), NULL);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool control = is_control(p);
        if (control || (*p >= 0x80 && !utf8))
            wf_str_add(s, "?", 1);
        else
            wf_str_add(s, (const char *)p, 1);
        if (control && *p == 0xc2)
            p++;
    }
}

#define NAME_WIDTH_MAX 72u

/* Columns that `text` takes when wf_report_name prints it. */
static size_t width_of(const char *text)
{
    bool utf8 = wf_utf8_valid(text, strlen(text), NULL);
    size_t width = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        width += !utf8 || (*p & 0xc0) != 0x80; /* continuation bytes take no column */
    return width;
}

size_t wf_report_widen(size_t width, const char *text)
{
    return wf_min_u64(wf_max_u64(width, width_of(text)), NAME_WIDTH_MAX);
}

void wf_report_name(struct wf_report *r, const char *text, size_t width)
{
    add_clean(&r->line, text);
    for (size_t n = width_of(text); n < width; n++)
        wf_str_add(&r->line, " ", 1);
}

void wf_report_end(struct wf_report *r)
{
    while (r->line.n && r->line.text[r->line.n - 1] == ' ')
        r->line.n--;
    wf_str_add(&r->line, "\n", 1);
    if (!r->line.failed && fwrite(r->line.text, 1, r->line.n, r->out) != r->line.n &&
        !r->write_errno)
        r->write_errno = errno ? errno : EIO;
    r->line.n = 0;
}

void wf_report_object(struct wf_report *r, const char *kind)
{
    wf_str_printf(&r->line, "{\"kind\":\"%s\"", kind);
}

static void add_key(struct wf_report *r, const char *key)
{
    wf_str_printf(&r->line, ",\"%s\":", key);
}

void wf_report_string(struct wf_report *r, const char *key, const char *text)
{
    add_key(r, key);
    if (!text) {
        wf_str_puts(&r->line, "null");
        return;
    }
    /* JSON text is UTF-8; a path need not be. Line breaks of our own texts are escaped as they are.
     */
    if (wf_utf8_valid(text, strlen(text), NULL)) {
        wf_str_json(&r->line, text, strlen(text));
        return;
    }
    struct wf_str clean = {0};
    add_clean(&clean, text);
    if (clean.failed)
        r->line.failed = true;
    else
        wf_str_json(&r->line, clean.text, clean.n);
    wf_str_free(&clean);
}

void wf_report_u64(struct wf_report *r, const char *key, uint64_t value)
{
    add_key(r, key);
    wf_str_printf(&r->line, "%" PRIu64, value);
}

void wf_report_f64(struct wf_report *r, const char *key, double value)
{
    char buf[32];
    add_key(r, key);
    wf_str_puts(&r->line, isfinite(value) ? wf_format_f64(value, buf) : "null");
}

void wf_report_bool(struct wf_report *r, const char *key, bool value)
{
    add_key(r, key);
    wf_str_puts(&r->line, value ? "true" : "false");
}

void wf_report_raw(struct wf_report *r, const char *key, const char *json)
{
    add_key(r, key);
    wf_str_puts(&r->line, json);
}

void wf_report_close(struct wf_report *r)
{
    wf_str_add(&r->line, "}", 1);
    wf_report_end(r);
}

uint64_t wf_tool_memory(const struct weft_options *o)
{
    return o->memory_bytes ? o->memory_bytes : wf_mem_default();
}

unsigned wf_tool_threads(const struct weft_options *o, uint64_t memory, uint64_t bytes_each)
{
    uint64_t n = o->threads ? o->threads : wf_cpu_count();
    n = wf_min_u64(n, THREADS_MAX);
    n = wf_min_u64(n, memory / bytes_each);
    return n ? (unsigned)n : 1;
}
