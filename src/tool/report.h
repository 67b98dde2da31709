/* report.h - how the read-only commands print: lines for people, or one JSON object a line.
 *
 * A line is built in memory and written whole. Text that comes from files (tensor names, paths,
 * metadata) goes through wf_report_name or wf_report_string, which let no control character reach
 * the terminal. Nothing here fails on the spot: trouble is kept and told by wf_report_finish, so
 * that a command's body is a plain list of what it prints.
 *
 *     wf_report_object(&r, "tensor");          {"kind":"tensor"
 *     wf_report_string(&r, "name", t->name);   ,"name":"lm_head.weight"
 *     wf_report_u64(&r, "bytes", t->bytes);    ,"bytes":128
 *     wf_report_close(&r);                     }\n
 */
#ifndef WF_REPORT_H
#define WF_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../../include/weft.h"
#include "../base/status.h"
#include "../base/str.h"

struct wf_report {
    FILE *out;
    bool json;
    struct wf_str line; /* under construction */
    int write_errno;    /* of the first write that failed, 0 if none */
};

void wf_report_open(struct wf_report *r, const struct weft_options *o);

/* WF_OK, or WF_MACHINE "cannot write the result: ...". Frees the line; `r` may be opened again. */
int wf_report_finish(struct wf_report *r, struct wf_err *e);

/* For people. wf_report_name adds text from a file, padded with spaces to `width` columns. */
void wf_report_text(struct wf_report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void wf_report_name(struct wf_report *r, const char *text, size_t width);
void wf_report_end(struct wf_report *r); /* newline, and out; spaces at the line's end are cut */

/* JSON. Keys are constants of ours. Numbers that JSON cannot hold (NaN, infinity) become null. */
void wf_report_object(struct wf_report *r, const char *kind);
void wf_report_string(struct wf_report *r, const char *key, const char *text); /* NULL: null */
void wf_report_u64(struct wf_report *r, const char *key, uint64_t value);
void wf_report_f64(struct wf_report *r, const char *key, double value);
void wf_report_bool(struct wf_report *r, const char *key, bool value);
void wf_report_raw(struct wf_report *r, const char *key, const char *json);
void wf_report_close(struct wf_report *r);

/* The width of a column of names, `text` among them: it starts with that of the column's head and
 * stops growing where longer names push their row to the right. */
size_t wf_report_widen(size_t width, const char *text);

/* Host bytes that a command may use for buffers: the option, or a quarter of RAM. */
uint64_t wf_tool_memory(const struct weft_options *o);

/* Worker threads: the option or the CPUs, no more than `memory` holds at `bytes_each`, at least 1.
 */
unsigned wf_tool_threads(const struct weft_options *o, uint64_t memory, uint64_t bytes_each);

#endif
