/* lowrank_print.c - rows about modules of low rank; see lowrank_print.h. */
#include "lowrank_print.h"

#include <inttypes.h>

#include "../base/log.h"

void wf_lowrank_print_head(struct wf_lowrank_print *p)
{
    struct wf_report *r = p->report;
    if (r->json || p->headed)
        return;
    p->headed = true;
    wf_report_name(r, "module", p->name_width);
    wf_report_text(r, "  %7s  %7s  %5s  %9s  %9s", "out", "in", "rank", "energy", "error");
    wf_report_end(r);
}

static void figures(struct wf_report *r, const struct wf_lowrank_row *row)
{
    if (r->json) {
        wf_report_u64(r, "rank", row->rank);
        wf_report_f64(r, "energy", wf_lowrank_energy(row));
        wf_report_f64(r, "error", wf_lowrank_error(row));
        wf_report_close(r);
        return;
    }
    wf_report_text(r, "  %5" PRIu32 "  %9.6f  %9.3e", row->rank, wf_lowrank_energy(row),
                   wf_lowrank_error(row));
    wf_report_end(r);
}

void wf_lowrank_print_row(void *print, const struct wf_lowrank_row *row)
{
    struct wf_lowrank_print *p = print;
    struct wf_report *r = p->report;
    wf_lowrank_print_head(p);
    p->modules++;
    if (r->json) {
        wf_report_object(r, "module");
        wf_report_string(r, "path", row->path);
        wf_report_u64(r, "out", row->outs);
        wf_report_u64(r, "in", row->ins);
        wf_report_u64(r, "rank_in", row->rank_in);
    } else {
        wf_report_name(r, row->path, p->name_width);
        wf_report_text(r, "  %7" PRIu32 "  %7" PRIu32, row->outs, row->ins);
    }
    figures(r, row);
}

void wf_lowrank_print_total(struct wf_lowrank_print *p, const struct wf_lowrank_row *total,
                            const char *out)
{
    struct wf_report *r = p->report;
    if (r->json) {
        wf_report_object(r, "total");
        wf_report_string(r, "out", out);
        wf_report_u64(r, "modules", p->modules);
    } else {
        wf_report_name(r, "total", p->name_width);
        wf_report_text(r, "  %7s  %7s", "", "");
    }
    figures(r, total);
}

int wf_lowrank_publish(struct wf_err *e, const struct weft_options *o, int status,
                       struct wf_report *r, struct wf_adapter_record *record,
                       struct wf_output *output)
{
    int finished = wf_report_finish(r, e);
    if (!status)
        status = finished;
    if (!status)
        status = wf_adapter_record_write(e, o, output->partial, record);
    return status ? status : wf_output_publish(e, output);
}

int wf_lowrank_print_done(struct wf_report *r, struct wf_err *e, const char *out)
{
    if (r->json) {
        wf_report_object(r, "done");
        wf_report_string(r, "out", out);
        wf_report_bool(r, "already_done", true);
        wf_report_close(r);
    } else {
        wf_log(WF_LOG_INFO, "%s is already complete; nothing was done", out);
    }
    return wf_report_finish(r, e);
}
