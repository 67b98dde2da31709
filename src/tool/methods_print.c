/* methods_print.c - the rows of the method registry, printed.
 *
 * With JSON, one object a line, the same for all methods and for one:
 *   {"kind":"method","name":S,"title":S,"formula":S,"citation":S,
 *    "base":"none"|"optional"|"required","min_models":N,"max_models":N,"draws":B,
 *    "stages":[{"kind":"fold"|"select"|"rank"|"map",
 *    "scope":"off"|"element"|"row"|"column"|"tensor"|"model"}],
 *    "passes":N,"passes_scope_model":N,"options":[{"name":S,"type":"number"|"bool"|"choice",
 *    "where":"global"|"per_model","required":B,"default":V,"min":N,"max":N,"choices":[S],
 *    "help":S}]}
 * "scope" is the one without options; a stage that is off is one that some options turn on.
 * "default" is null where there is none; "min" and "max" are null where there is no limit, and but
 * for numbers; "choices" is null but for a choice; "passes_scope_model" is null where scope: model
 * is none.
 */
#include "methods_print.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../base/num.h"
#include "../method/method.h"
#include "../recipe/value.h"
#include "report.h"

#define RANGE_TEXT 96

/* "10" and not "1e+01", which is as short. */
static const char *number_text(double value, char buf[32])
{
    if (value != floor(value) || fabs(value) >= 1e6)
        return wf_format_f64(value, buf);
    snprintf(buf, 32, "%.0f", value);
    return buf;
}

/* "0.2", "true", "tensor", "none", "required": what holds where a recipe says nothing. */
static const char *default_text(const struct wf_option *o, char buf[32])
{
    if (o->required)
        return "required";
    if (isnan(o->fallback))
        return "none";
    if (o->kind == WF_OPTION_BOOL)
        return o->fallback != 0.0 ? "true" : "false";
    if (o->kind == WF_OPTION_CHOICE)
        return o->choices[(size_t)o->fallback];
    return number_text(o->fallback, buf);
}

/* "0 to 1", "at least 0", "any number", "true or false", "row, tensor or model". */
static const char *range_text(const struct wf_option *o, char buf[RANGE_TEXT])
{
    char low[32], high[32];
    _Static_assert(RANGE_TEXT >= WF_CHOICES_TEXT, "a list of words fits");
    if (o->kind == WF_OPTION_BOOL)
        return "true or false";
    if (o->kind == WF_OPTION_CHOICE)
        return wf_choices_text(o->choices, buf);
    number_text(o->min, low);
    number_text(o->max, high);
    if (isinf(o->min) && isinf(o->max))
        return "any number";
    if (isinf(o->min))
        snprintf(buf, RANGE_TEXT, "at most %s", high);
    else if (isinf(o->max))
        snprintf(buf, RANGE_TEXT, "at least %s", low);
    else
        snprintf(buf, RANGE_TEXT, "%s to %s", low, high);
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

static const char *const base_word[] = {"none", "optional", "required"};
static const char *const base_text[] = {"not used in the arithmetic", "optional", "required"};

static const char *const stage_word[] = {"fold", "select", "rank", "map"};
static const char *const stage_text[] = {"FOLD", "SELECT", "RANK", "MAP"};
static const char *const scope_word[] = {"off", "element", "row", "column", "tensor", "model"};

/* The method has an option `scope`, and `model` is one of its words. */
static bool scope_offers_model(const struct wf_method *m)
{
    int scope = wf_method_option(m, "scope");
    const char *const *words = scope >= 0 ? m->options[scope].choices : NULL;
    while (words && *words && strcmp(*words, "model") != 0)
        words++;
    return words && *words;
}

/* Passes of the stages as described, in memory; or with scope: model, which is about what they
 * SELECT, and reading again. */
static unsigned passes(const struct wf_method *m, bool scope_model)
{
    unsigned n = 1; /* MAP */
    for (size_t i = 0; i < m->n_stages; i++)
        n += scope_model && m->stages[i].kind == WF_STAGE_SELECT &&
             m->stages[i].scope != WF_SCOPE_OFF;
    return n;
}

static const char *passes_text(const struct wf_method *m, char buf[96])
{
    int n = snprintf(buf, 96, "%u", passes(m, false));
    if (scope_offers_model(m))
        snprintf(buf + n, 96 - (size_t)n,
                 ", or %u with scope: model and inputs that do not fit in memory", passes(m, true));
    return buf;
}

/* How many stages from number i on are told in the same words. */
static size_t alike(const struct wf_method *m, size_t i)
{
    size_t n = 1;
    while (i + n < m->n_stages && m->stages[i + n].kind == m->stages[i].kind &&
           m->stages[i + n].scope == m->stages[i].scope)
        n++;
    return n;
}

/* "SELECT per tensor or as scope says, FOLD where needed, MAP": in the order they run. */
static void add_stages(struct wf_str *s, const struct wf_method *m)
{
    if (m->adapters)
        wf_str_puts(s, "none: adapters are factored, module by module");
    for (size_t i = 0, n; i < m->n_stages; i += n) {
        const struct wf_stage *stage = &m->stages[i];
        bool free_scope = stage->kind == WF_STAGE_SELECT && scope_offers_model(m);
        n = alike(m, i);
        wf_str_printf(s, "%s%s", i ? ", " : "", stage_text[stage->kind]);
        if (stage->scope == WF_SCOPE_OFF)
            wf_str_puts(s, " where needed"); /* alternatives, if there are several */
        else if (stage->scope != WF_SCOPE_ELEMENT)
            wf_str_printf(s, " per %s%s", scope_word[stage->scope],
                          free_scope ? " or as scope says" : "");
        if (stage->scope != WF_SCOPE_OFF && n > 1)
            wf_str_printf(s, " (%zu times)", n);
    }
}

static const char random_text[] = "a number for each model and element, from the recipe's seed";

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void json_limit(struct wf_report *r, const struct wf_option *o, const char *key,
                       double value)
{
    wf_report_f64(r, key, o->kind == WF_OPTION_NUMBER ? value : (double)NAN);
}

static void json_choices(struct wf_report *r, const struct wf_option *o)
{
    wf_report_raw(r, "choices", o->choices ? "[" : "null");
    for (size_t i = 0; o->choices && o->choices[i]; i++)
        wf_report_text(r, "%s\"%s\"", i ? "," : "", o->choices[i]);
    wf_report_text(r, o->choices ? "]" : "");
}

static void json_option(struct wf_report *r, const struct wf_option *o, bool first)
{
    static const char *const types[] = {"number", "bool", "choice"};
    char buf[32];
    wf_report_text(r, "%s{\"name\":", first ? "" : ",");
    wf_str_json(&r->line, o->name, strlen(o->name));
    wf_report_string(r, "type", types[o->kind]);
    wf_report_string(r, "where", o->where == WF_PER_MODEL ? "per_model" : "global");
    wf_report_bool(r, "required", o->required);
    if (o->required || isnan(o->fallback))
        wf_report_raw(r, "default", "null");
    else if (o->kind == WF_OPTION_CHOICE)
        wf_report_string(r, "default", default_text(o, buf));
    else
        wf_report_raw(r, "default", default_text(o, buf));
    json_limit(r, o, "min", o->min);
    json_limit(r, o, "max", o->max);
    json_choices(r, o);
    wf_report_string(r, "help", o->help);
    wf_report_text(r, "}");
}

static void json_stages(struct wf_report *r, const struct wf_method *m)
{
    wf_report_raw(r, "stages", "[");
    for (size_t i = 0; i < m->n_stages; i++)
        wf_report_text(r, "%s{\"kind\":\"%s\",\"scope\":\"%s\"}", i ? "," : "",
                       stage_word[m->stages[i].kind], scope_word[m->stages[i].scope]);
    wf_report_text(r, "]");
}

static void json_method(struct wf_report *r, const struct wf_method *m)
{
    wf_report_object(r, "method");
    wf_report_string(r, "name", m->name);
    wf_report_string(r, "title", m->title);
    wf_report_string(r, "formula", m->formula);
    wf_report_string(r, "citation", m->citation);
    wf_report_string(r, "base", base_word[m->base]);
    wf_report_u64(r, "min_models", m->min_models);
    wf_report_u64(r, "max_models", m->max_models);
    wf_report_bool(r, "draws", m->draws);
    json_stages(r, m);
    wf_report_u64(r, "passes", passes(m, false));
    wf_report_f64(r, "passes_scope_model",
                  scope_offers_model(m) ? (double)passes(m, true) : (double)NAN);
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
    if (m->n_options == 0)
        return;
    wf_report_name(r, "", width + 4);
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wf_report_text(r, "%s%s", i ? ", " : "", o->name);
        if (!o->required)
            wf_report_text(r, "=%s", default_text(o, buf));
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

/* The options table, in columns as wide as they must be. */
static void text_options(struct wf_report *r, const struct wf_method *m)
{
    char value[32], range[RANGE_TEXT];
    size_t wide[] = {strlen("option"), strlen("default"), strlen("range")};
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wide[0] = wf_max_u64(wide[0], strlen(o->name));
        wide[1] = wf_max_u64(wide[1], strlen(default_text(o, value)));
        wide[2] = wf_max_u64(wide[2], strlen(range_text(o, range)));
    }
    static const char row[] = "    %-*s  %-9s  %-*s  %-*s  ";
    if (m->n_options) {
        wf_report_text(r, row, (int)wide[0], "option", "where", (int)wide[1], "default",
                       (int)wide[2], "range");
        wf_report_end(r);
    }
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wf_report_text(r, row, (int)wide[0], o->name, where_text(o), (int)wide[1],
                       default_text(o, value), (int)wide[2], range_text(o, range));
        wf_str_puts(&r->line, o->help);
        wf_report_end(r);
    }
    if (m->n_options)
        wf_report_end(r);
}

static void text_method(struct wf_report *r, const struct wf_method *m)
{
    char models[64], count[96];
    wf_report_text(r, "%s - ", m->name);
    wf_str_puts(&r->line, m->title);
    wf_report_end(r);
    wf_report_end(r);
    text_lines(r, "    ", m->formula);
    wf_report_end(r);
    text_options(r, m);
    wf_report_text(r, "models  %s", models_text(m, models));
    wf_report_end(r);
    wf_report_text(r, "base    %s", base_text[m->base]);
    wf_report_end(r);
    wf_report_text(r, "stages  ");
    add_stages(&r->line, m);
    wf_report_end(r);
    wf_report_text(r, "passes  %s", passes_text(m, count));
    wf_report_end(r);
    if (m->draws) {
        wf_report_text(r, "random  %s", random_text);
        wf_report_end(r);
    }
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
    char value[32], range[RANGE_TEXT];
    if (!m->n_options)
        return;
    line(r, "| option | where | default | range | meaning |", "", "");
    line(r, "|---|---|---|---|---|", "", "");
    for (size_t i = 0; i < m->n_options; i++) {
        const struct wf_option *o = &m->options[i];
        wf_report_text(r, "| `%s` | %s | %s | %s | ", o->name, where_text(o),
                       default_text(o, value), range_text(o, range));
        line(r, o->help, " |", "");
    }
    line(r, "", "", "");
}

static void markdown_method(struct wf_report *r, const struct wf_method *m)
{
    char models[64], count[96];
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
    line(r, "- Base: ", base_text[m->base], "");
    wf_report_text(r, "- Stages: ");
    add_stages(&r->line, m);
    wf_report_end(r);
    line(r, "- Passes over the inputs: ", passes_text(m, count), "");
    if (m->draws)
        line(r, "- Random: ", random_text, "");
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
