/* lowrank_print.h - what compress-lora, extract-lora and byom_lora say about each module: the rank
 * it has now, and how much of it that is.
 *
 * With JSON, one object a line:
 *   {"kind":"module","path":S,"out":N,"in":N,"rank_in":N,"rank":N,"energy":N,"error":N}
 *   {"kind":"total","out":S,"modules":N,"rank":N,"energy":N,"error":N}
 * energy is the kept share of the squared Frobenius norm, error the relative Frobenius norm of what
 * is lost; rank_in is 0 where a whole difference was factored.
 */
#ifndef WF_LOWRANK_PRINT_H
#define WF_LOWRANK_PRINT_H

#include "../lowrank/compress.h"
#include "../publish/adapter_record.h"
#include "report.h"

struct wf_lowrank_print {
    struct wf_report *report;
    size_t name_width;
    size_t modules; /* printed so far */
    bool headed;    /* the table's head was printed */
};

/* Before the first row, whatever it is about: nothing is printed for work that fails at once. */
void wf_lowrank_print_head(struct wf_lowrank_print *p);
void wf_lowrank_print_row(void *print, const struct wf_lowrank_row *row);
void wf_lowrank_print_total(struct wf_lowrank_print *p, const struct wf_lowrank_row *total,
                            const char *out);

/* The end of a command that made an adapter in output->partial, `status` being how that went: ends
 * the report, and publishes unless something failed. */
int wf_lowrank_publish(struct wf_err *e, const struct weft_options *o, int status,
                       struct wf_report *r, struct wf_adapter_record *record,
                       struct wf_output *output);

/* --resume found OUT finished:  {"kind":"done","out":S,"already_done":true}  */
int wf_lowrank_print_done(struct wf_report *r, struct wf_err *e, const char *out);

#endif
