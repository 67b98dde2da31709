/* module_pattern.c - regular expressions over module paths, by Thompson's construction; see
 * module_pattern.h.
 *
 * A pattern becomes steps. A block of steps refers to others by distance, so that it may be moved:
 *
 *     X|Y   FORK +1 +|X|+2   X   FORK +|Y|+1 (both ways)   Y
 *     X*    FORK +1 +|X|+2   X   FORK -|X|-1 (both ways)
 *     X+    X   FORK -|X| +1
 *     X?    FORK +1 +|X|+1   X
 *
 * Matching keeps the set of steps that can be reached after each letter of the path.
 */
#include "module_pattern.h"

#include <stdint.h>
#include <string.h>

/* Every letter of the text gives at most three steps: itself, and a quantifier's two. */
#define STEPS_MAX (3 * WF_MODULE_PATTERN_MAX + 1)
#define DEPTH_MAX 64

enum step_kind { STEP_BYTE, STEP_SET, STEP_FORK, STEP_FIRST, STEP_LAST, STEP_DONE };

struct wf_pattern_step {
    enum step_kind kind;
    unsigned char byte;    /* BYTE */
    int ways[2];           /* FORK: distances */
    const uint64_t *bytes; /* SET: four words, a bit for each byte that fits */
};

struct compiler {
    struct wf_err *e;
    struct wf_arena *a;
    const char *where, *text;
    const char *at;
    struct wf_pattern_step *steps;
    int n;
    int depth; /* of groups */
};

static int refuse(const struct compiler *c, const char *why)
{
    return wf_fail(
        c->e, WF_USAGE,
        "%s: pattern '%s': %s at byte %td; write it with literals, . * + ? | ^ $, groups "
        "and classes",
        c->where, c->text, why, c->at - c->text);
}

/* Makes room for one step at `place`; what stood there moves up as a whole. */
static struct wf_pattern_step *insert(struct compiler *c, int place)
{
    memmove(&c->steps[place + 1], &c->steps[place], (size_t)(c->n - place) * sizeof *c->steps);
    c->n++;
    c->steps[place] = (struct wf_pattern_step){0};
    return &c->steps[place];
}

static void insert_fork(struct compiler *c, int place, int one, int other)
{
    *insert(c, place) = (struct wf_pattern_step){.kind = STEP_FORK, .ways = {one, other}};
}

static void append_byte(struct compiler *c, int byte)
{
    *insert(c, c->n) = (struct wf_pattern_step){.kind = STEP_BYTE, .byte = (unsigned char)byte};
}

static int append_set(struct compiler *c, const uint64_t set[4])
{
    uint64_t *bytes = wf_arena_alloc(c->a, c->e, 4, sizeof *bytes);
    if (!bytes)
        return WF_MACHINE;
    memcpy(bytes, set, 4 * sizeof *bytes);
    *insert(c, c->n) = (struct wf_pattern_step){.kind = STEP_SET, .bytes = bytes};
    return WF_OK;
}

/* ---- sets of letters --------------------------------------------------------------------------
 */

static void set_range(uint64_t set[4], unsigned from, unsigned to)
{
    for (unsigned b = from; b <= to; b++)
        set[b / 64] |= 1ull << (b % 64);
}

static void set_invert(uint64_t set[4])
{
    for (int i = 0; i < 4; i++)
        set[i] = ~set[i];
}

/* \d and its like, or an escaped letter that stands for itself; *single gets the latter, else -1.
 */
static int read_escape(struct compiler *c, uint64_t set[4], int *single)
{
    uint64_t own[4] = {0};
    unsigned char letter = (unsigned char)c->at[1];
    *single = -1;
    switch (letter | 0x20) {
    case 'd':
        set_range(own, '0', '9');
        break;
    case 's':
        set_range(own, '\t', '\r');
        set_range(own, ' ', ' ');
        break;
    case 'w':
        set_range(own, '0', '9');
        set_range(own, 'A', 'Z');
        set_range(own, 'a', 'z');
        set_range(own, '_', '_');
        break;
    default:
        if (letter <= ' ' || letter > '~' || (letter >= '0' && letter <= '9') ||
            ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z'))
            return refuse(c, "an escape that weft does not know");
        *single = letter;
        set_range(own, letter, letter);
    }
    if (*single < 0 && letter < 'a')
        set_invert(own);
    for (int i = 0; i < 4; i++)
        set[i] |= own[i];
    c->at += 2;
    return WF_OK;
}

/* One letter or escape of a class. */
static int read_class_item(struct compiler *c, uint64_t set[4], int *single)
{
    if (*c->at == '\\')
        return read_escape(c, set, single);
    if (!*c->at)
        return refuse(c, "a '[' without its ']'");
    *single = (unsigned char)*c->at++;
    set_range(set, (unsigned)*single, (unsigned)*single);
    return WF_OK;
}

static int read_class(struct compiler *c)
{
    uint64_t set[4] = {0};
    bool inverted = c->at[1] == '^';
    c->at += inverted ? 2 : 1;
    for (bool first = true; first || *c->at != ']'; first = false) {
        int from, to;
        int s = read_class_item(c, set, &from);
        if (s)
            return s;
        if (*c->at != '-' || c->at[1] == ']' || !c->at[1])
            continue;
        c->at++;
        s = read_class_item(c, set, &to);
        if (s)
            return s;
        if (from < 0 || to < from)
            return refuse(c, "a range that is none");
        set_range(set, (unsigned)from, (unsigned)to);
    }
    c->at++;
    if (inverted)
        set_invert(set);
    return append_set(c, set);
}

/* ---- the grammar ------------------------------------------------------------------------------
 */

static int read_alternatives(struct compiler *c);

static int read_group(struct compiler *c)
{
    if (c->at[1] == '?' && c->at[2] != ':')
        return refuse(c, "a kind of group that weft does not know");
    if (++c->depth > DEPTH_MAX)
        return refuse(c, "too many groups in each other");
    c->at += c->at[1] == '?' ? 3 : 1;
    int s = read_alternatives(c);
    if (s)
        return s;
    if (*c->at != ')')
        return refuse(c, "a '(' without its ')'");
    c->at++;
    c->depth--;
    return WF_OK;
}

static int read_atom(struct compiler *c)
{
    uint64_t set[4] = {0};
    int single, status;
    switch (*c->at) {
    case '(':
        return read_group(c);
    case '[':
        return read_class(c);
    case '^':
    case '$':
        insert(c, c->n)->kind = *c->at++ == '^' ? STEP_FIRST : STEP_LAST;
        return WF_OK;
    case '\\':
        status = read_escape(c, set, &single);
        if (status || single < 0)
            return status ? status : append_set(c, set);
        append_byte(c, single);
        return WF_OK;
    case '*':
    case '+':
    case '?':
        return refuse(c, "a quantifier with nothing before it");
    case '{':
        return refuse(c, "a counted quantifier, which weft does not know,");
    case '.':
        c->at++;
        set_range(set, '\n', '\n');
        set_invert(set);
        return append_set(c, set);
    default:
        append_byte(c, *c->at++);
        return WF_OK;
    }
}

static int read_quantified(struct compiler *c)
{
    int start = c->n;
    int s = read_atom(c);
    int length = c->n - start;
    char quantifier = *c->at;
    if (s || !quantifier || !strchr("*+?", quantifier))
        return s;
    if (quantifier == '+') {
        insert_fork(c, c->n, -length, 1);
    } else {
        bool again = quantifier == '*';
        insert_fork(c, start, 1, length + (again ? 2 : 1));
        if (again)
            insert_fork(c, c->n, -length - 1, -length - 1);
    }
    c->at++;
    if (*c->at == '?') /* lazy: the same paths match */
        c->at++;
    if (*c->at && strchr("*+?", *c->at))
        return refuse(c, "a quantifier of a quantifier");
    return WF_OK;
}

static int read_sequence(struct compiler *c)
{
    int s = WF_OK;
    while (!s && *c->at && *c->at != '|' && *c->at != ')')
        s = read_quantified(c);
    return s;
}

static int read_alternatives(struct compiler *c)
{
    int start = c->n;
    int s = read_sequence(c);
    if (s || *c->at != '|')
        return s;
    int left = c->n - start;
    insert_fork(c, start, 1, left + 2);
    int jump = c->n;
    insert(c, jump);
    c->at++;
    s = read_alternatives(c);
    int over = c->n - jump;
    c->steps[jump] = (struct wf_pattern_step){.kind = STEP_FORK, .ways = {over, over}};
    return s;
}

int wf_module_pattern_compile(struct wf_err *e, struct wf_arena *a, const char *where,
                              const char *text, struct wf_module_pattern *out)
{
    struct compiler c = {.e = e, .a = a, .where = where, .text = text, .at = text};
    size_t n = strlen(text);
    if (n == 0 || n > WF_MODULE_PATTERN_MAX)
        return wf_fail(e, WF_USAGE, "%s: a pattern of %zu bytes; 1 to %d are possible", where, n,
                       WF_MODULE_PATTERN_MAX);
    for (; *c.at; c.at++)
        if ((unsigned char)*c.at < ' ' || (unsigned char)*c.at > '~')
            return refuse(&c, "a letter that is not ASCII");
    c.at = text;
    c.steps = wf_alloc(e, WF_MEM_META, 3 * n + 1, sizeof *c.steps, "a pattern");
    if (!c.steps)
        return WF_MACHINE;
    int s = read_alternatives(&c);
    if (!s && *c.at)
        s = refuse(&c, "a ')' without its '('");
    if (!s) {
        insert(&c, c.n)->kind = STEP_DONE;
        *out = (struct wf_module_pattern){.n = (size_t)c.n};
        out->steps = wf_arena_alloc(a, e, out->n, sizeof *out->steps);
        s = out->steps ? WF_OK : WF_MACHINE;
    }
    if (!s)
        memcpy(out->steps, c.steps, out->n * sizeof *out->steps);
    wf_free(c.steps);
    return s;
}

/* ---- matching ---------------------------------------------------------------------------------
 */

struct reached {
    uint16_t steps[STEPS_MAX];
    size_t n;
};

/* Adds a step and those it leads to without a letter. `seen` counts rounds. */
static void reach(const struct wf_module_pattern *p, struct reached *r, uint32_t *seen,
                  uint32_t round, int from, bool first, bool last)
{
    uint16_t pending[2 * STEPS_MAX];
    size_t n = 0;
    pending[n++] = (uint16_t)from;
    while (n) {
        uint16_t at = pending[--n];
        const struct wf_pattern_step *step = &p->steps[at];
        if (seen[at] == round)
            continue;
        seen[at] = round;
        r->steps[r->n++] = at;
        if (step->kind == STEP_FORK) {
            pending[n++] = (uint16_t)(at + step->ways[0]);
            pending[n++] = (uint16_t)(at + step->ways[1]);
        } else if ((step->kind == STEP_FIRST && first) || (step->kind == STEP_LAST && last)) {
            pending[n++] = (uint16_t)(at + 1);
        }
    }
}

static bool fits(const struct wf_pattern_step *step, unsigned char byte)
{
    if (step->kind == STEP_BYTE)
        return step->byte == byte;
    return step->kind == STEP_SET && step->bytes[byte / 64] >> (byte % 64) & 1;
}

bool wf_module_pattern_matches(const struct wf_module_pattern *p, const char *path)
{
    struct reached sets[2];
    struct reached *now = &sets[0], *next = &sets[1];
    uint32_t seen[STEPS_MAX] = {0};
    size_t n = strlen(path);
    now->n = 0;
    for (size_t i = 0; i <= n; i++) {
        /* "(.*\.)?": a match begins at the start of the path or after any dot. */
        if (i == 0 || path[i - 1] == '.')
            reach(p, now, seen, (uint32_t)i + 1, 0, i == 0, i == n);
        if (i == n)
            break;
        next->n = 0;
        unsigned char byte = (unsigned char)path[i];
        for (size_t k = 0; k < now->n; k++) {
            if (fits(&p->steps[now->steps[k]], byte))
                reach(p, next, seen, (uint32_t)i + 2, now->steps[k] + 1, false, i + 1 == n);
        }
        struct reached *done = now;
        now = next;
        next = done;
    }
    for (size_t k = 0; k < now->n; k++)
        if (p->steps[now->steps[k]].kind == STEP_DONE)
            return true;
    return false;
}
