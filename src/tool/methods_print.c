/* methods_print.c - the rows of the method registry, printed.
 *
 * With JSON, one object a line, the same for all methods and for one:
 *   {"kind":"method","name":S,"title":S,"formula":S,"citation":S,"base":"none"|"required",
 *    "min_models":N,"max_models":N,"passes":N,"options":[{"name":S,"type":"number"|"bool",
 *    "where":"global"|"per_model","required":B,"default":V,"min":N,"max":N,"help":S}]}
 * "default" is null for a required option; "min" and "max" are null where there is no limit, and
 * for a bool.
 */
#include "methods_print.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../base/num.h"
#include "../method/method.h"
#include "report.h"

/* "0.2", "true": an option's value in its own type. */
static const char *value_text(const struct wf_option *o, double value, char buf[32])
{
    if (o->kind == WF_OPTION_BOOL)
        return value != 0.0 ? "true" : "false";
    return wf_format_f64(value, buf);
}

/* "[0, 1]", ">= 0", "any number", "true or false". */
static const char *range_text(const struct wf_option *o, char buf[80])
{
    char low[32], high[32];
    if (o->kind == WF_OPTION_BOOL)
        return "true or false";
    wf_format_f64(o->min, low);
    wf_format_f64(o->max, high);
    if (isinf(o->min) && isinf(o->max))
        return "any number";
    if (isinf(o->min))
        snprintf(buf, 80, "at most %s", high);
    else if (isinf(o->max))
        snprintf(buf, 80, "at least %s", low);
    else
        snprintf(buf, 80, "%s to %s", low, high);
    return buf;
}

static const char *where_text(const struct wf_option *o)
{
    return o->where == WF_PER_MODEL ? "per model" : "global";
}

/* "1", "2 or more", "1 to 4", models besides the base. */
static const char *models_text(const struct wf_method *m, char buf[64])
{
    uint32_t most = WF_MODELS_MAX - (m->base == WF_BASE_REQUIRED);
    if (m->min_models == m->max_models)
        snprintf(buf, 64, "%" PRIu32, m->min_models);
    else if (m->max_models >= most)
        snprintf(buf, 64, "%" PRIu32 " or more", m->min_models);
    else
        snprintf(buf, 64, "%" PRIu32 " to %" PRIu32, m->min_models, m->max_models);
    return buf;
}

static const char *base_text(const struct wf_method *m)
{
    return m->base == WF_BASE_REQUIRED ? "required: the deltas are taken from it"
                                       : "not used in the arithmetic";
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void json_limit(struct wf_report *r, const struct wf_option *o, const char *key,
                       double value)
{
    wf_report_f64(r, key, o->kind == WF_OPTION_BOOL ? (double)NAN : value);
}

static void json_option(struct wf_report *r, const struct wf_option *o, bool first)
{
    char buf[32];
    wf_report_text(r, "%s{\"name\":", first ? "" : ",");
    wf_str_json(&r->line, o->name, strlen(o->name));
    wf_report_string(r, "type", o->kind == WF_OPTION_BOOL ? "bool" : "number");
    wf_report_string(r, "where", o->where == WF_PER_MODEL ? "per_model" : "global");
    wf_report_bool(r, "required", o->required);
    wf_report_raw(r, "default", o->required ? "null" : value_text(o, o->fallback, buf));
    json_limit(r, o, "min", o->min);
    json_limit(r, o, "max", o->max);
    wf_report_string(r, "help", o->help);
    wf_report_text(r, "}");
}

static void json_method(struct wf_report *r, const struct wf_method *m)
{
    wf_report_object(r, "method");
    wf_report_string(r, "name", m->name);
    wf_report_string(r, "title", m->title);
    wf_report_string(r, "formula", m->formula);
    wf_report_string(r, "citation", m->citation);
    wf_report_string(r, "base", m->base == WF_BASE_REQUIRED ? "required" : "none");
    wf_report_u64(r, "min_models", m->min_models);
    wf_report_u64(r, "max_models", m->max_models);
    wf_report_u64(r, "passes", wf_method_passes(m));
    wf_report_raw(r, "options", "[");
    for (size_t i = 0; i < m->n_options; i++)
        json_option(r, &m->options[i], i == 0);
    wf_report_text(r, "]");
    wf_report_close(r);
}

/* ---- lines ------------------------------------------------------------------------------------
 */

static size_t widest_name(void)
{
    size_t width = 0;
    for (size_t i = 0; i < wf_method_count(); i++)
        width = wf_max_u64(width, strlen(wf_method_at(i)->name));
    return width;
}

static void text_row(struct wf_report *r, const struct wf_method *m, size_t width)
{
    char buf[32];
    wf_report_name(r, m->name, width + 2);
    wf_str_puts(&r->line, m->title);
    wf_report_end(r);
    wf_report_name(r, "", width + 4);
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wf_report_text(r, "%s%s", i ? ", " : "", o->name);
        if (!o->required)
            wf_report_text(r, "=%s", value_text(o, o->fallback, buf));
    }
    wf_report_end(r);
}

/* The lines of `text`, each behind `indent`. */
static void text_lines(struct wf_report *r, const char *indent, const char *text)
{
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        wf_str_puts(&r->line, indent);
        wf_str_add(&r->line, line, n);
        wf_report_end(r);
        line += n + (line[n] == '\n');
    }
}

static void text_option(struct wf_report *r, const struct wf_option *o)
{
    char value[32], range[80];
    wf_report_text(r, "    %-12s  %-9s  %-12s  %-15s  ", o->name, where_text(o),
                   o->required ? "required" : value_text(o, o->fallback, value),
                   range_text(o, range));
    wf_str_puts(&r->line, o->help);
    wf_report_end(r);
}

static void text_method(struct wf_report *r, const struct wf_method *m)
{
    char models[64];
    wf_report_text(r, "%s - ", m->name);
    wf_str_puts(&r->line, m->title);
    wf_report_end(r);
    wf_report_end(r);
    text_lines(r, "    ", m->formula);
    wf_report_end(r);
    if (m->n_options) {
        wf_report_text(r, "    %-12s  %-9s  %-12s  %-15s", "option", "where", "default", "range");
        wf_report_end(r);
    }
    for (size_t i = 0; i < m->n_options; i++)
        text_option(r, &m->options[i]);
    wf_report_end(r);
    wf_report_text(r, "models  %s", models_text(m, models));
    wf_report_end(r);
    wf_report_text(r, "base    %s", base_text(m));
    wf_report_end(r);
    wf_report_text(r, "passes  %u", wf_method_passes(m));
    wf_report_end(r);
    text_lines(r, "paper   ", m->citation);
}

/* ---- docs/METHODS.md --------------------------------------------------------------------------
 */

/* A line that starts a paragraph, a list item or a table row, from parts. */
static void line(struct wf_report *r, const char *a, const char *b, const char *c)
{
    wf_str_puts(&r->line, a);
    wf_str_puts(&r->line, b);
    wf_str_puts(&r->line, c);
    wf_report_end(r);
}

static void markdown_options(struct wf_report *r, const struct wf_method *m)
{
    char value[32], range[80];
    if (!m->n_options)
        return;
    line(r, "| option | where | default | range | meaning |", "", "");
    line(r, "|---|---|---|---|---|", "", "");
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wf_report_text(r, "| `%s` | %s | %s | %s | ", o->name, where_text(o),
                       o->required ? "required" : value_text(o, o->fallback, value),
                       range_text(o, range));
        line(r, o->help, " |", "");
    }
    line(r, "", "", "");
}

static void markdown_method(struct wf_report *r, const struct wf_method *m)
{
    char models[64], passes[32];
    line(r, "## ", m->name, "");
    line(r, "", "", "");
    line(r, m->title, "", "");
    line(r, "", "", "");
    line(r, "```text", "", "");
    text_lines(r, "", m->formula);
    line(r, "```", "", "");
    line(r, "", "", "");
    markdown_options(r, m);
    line(r, "- Models: ", models_text(m, models), "");
    line(r, "- Base: ", base_text(m), "");
    snprintf(passes, sizeof passes, "%u", wf_method_passes(m));
    line(r, "- Passes over the inputs: ", passes, "");
    text_lines(r, "- ", m->citation);
}

static void markdown_all(struct wf_report *r)
{
    line(r, "# Methods", "", "");
    line(r, "", "", "");
    line(r,
         "Generated by `weft methods --markdown` from the files in `kernels/method/`; edit those.",
         "", "");
    line(r, "`W0` is the base's tensor, `W1`, `W2`, ... those of the models, in recipe order.", "",
         "");
    for (size_t i = 0; i < wf_method_count(); i++) {
        line(r, "", "", "");
        markdown_method(r, wf_method_at(i));
    }
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void print_all(struct wf_report *r)
{
    size_t width = widest_name();
    for (size_t i = 0; i < wf_method_count(); i++) {
        const struct wf_method *m = wf_method_at(i);
        if (r->json)
            json_method(r, m);
        else
            text_row(r, m, width);
    }
}

int wf_methods_run(struct wf_err *e, const struct weft_options *o, const char *name, bool markdown)
{
    struct wf_report r;
    const struct wf_method *m = name ? wf_method_find(name) : NULL;
    char hint[128];
    if (name && !m)
        return wf_fail(e, WF_USAGE, "unknown method '%s'%s; 'weft methods' lists all", name,
                       wf_did_you_mean(name, wf_method_names(), hint, sizeof hint));
    wf_report_open(&r, o);
    if (markdown && m)
        markdown_method(&r, m);
    else if (markdown)
        markdown_all(&r);
    else if (!m)
        print_all(&r);
    else if (r.json)
        json_method(&r, m);
    else
        text_method(&r, m);
    return wf_report_finish(&r, e);
}
