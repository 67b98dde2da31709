/* trace.c - tracks, and the file they share. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "file.h"
#include "log.h"
#include "str.h"

static const char closing[] = "\n]\n";

struct wf_track {
    struct wf_trace *trace;
    struct wf_track *next;
    char name[32];
    unsigned number;    /* "tid" */
    struct wf_str text; /* events that are not in the file yet, each with a comma before it */
};

struct wf_trace {
    const char *path;
    int fd;
    unsigned rank;
    size_t buffer_bytes;
    uint64_t epoch_ns; /* of what wf_now_ns() counts from */
    pthread_mutex_t lock;
    struct wf_track *tracks;
    unsigned n_tracks;
    uint64_t end;      /* of the events in the file */
    struct wf_err why; /* the write that failed; the rest is dropped */
    bool lost;         /* events for which there was no memory */
};

char *wf_trace_path(struct wf_arena *a, struct wf_err *e, const char *path, unsigned rank,
                    unsigned size)
{
    size_t n;
    const char *name = wf_path_last(path, &n), *dot = strrchr(name, '.');
    if (size <= 1)
        return wf_arena_strdup(a, e, path);
    if (!dot || dot == name)
        dot = name + strlen(name);
    return wf_arena_printf(a, e, "%.*s.%u%s", (int)(dot - path), path, rank, dot);
}

/* ---- the file ---- */

/* A write failed half-way: takes back what there is of it. */
static void mend(struct wf_trace *t)
{
    struct wf_err ignored = {0};
    size_t n = t->end ? sizeof closing - 1 : 0; /* not even the head is there: nothing */
    if (wf_pwrite(&ignored, t->fd, t->path, closing, n, t->end) ||
        ftruncate(t->fd, (off_t)(t->end + n)))
        t->lost = true;
}

/* Appends `text`, whose events no closing bracket follows yet, and leaves it empty. */
static void write_events(struct wf_trace *t, struct wf_str *text)
{
    wf_str_add(text, closing, sizeof closing - 1);
    pthread_mutex_lock(&t->lock);
    if (text->failed || wf_err_status(&t->why))
        t->lost = true;
    else if (wf_pwrite(&t->why, t->fd, t->path, text->text, text->n, t->end))
        mend(t);
    else
        t->end += text->n - (sizeof closing - 1);
    pthread_mutex_unlock(&t->lock);
    if (text->failed)
        wf_str_free(text);
    text->n = 0;
}

static int open_file(struct wf_err *e, const char *path, int *fd)
{
    struct stat s;
    *fd = wf_fault(WF_FAULT_OPEN) ? -1
                                  : open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
    if (*fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "--trace: cannot write %s", path);
    if (fstat(*fd, &s))
        return wf_fail_errno(e, WF_MACHINE, errno, "--trace: cannot write %s", path);
    if (!S_ISREG(s.st_mode))
        return wf_fail(e, WF_MACHINE, "--trace: %s is not a regular file; choose another", path);
    if (ftruncate(*fd, 0))
        return wf_fail_errno(e, WF_MACHINE, errno, "--trace: cannot write %s", path);
    return WF_OK;
}

static uint64_t since_1970_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int begin_file(struct wf_err *e, struct wf_trace *t)
{
    struct wf_str head = {0};
    wf_str_printf(
        &head,
        "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%u,\"args\":{\"name\":\"weft, "
        "rank %u\"}},\n{\"name\":\"process_sort_index\",\"ph\":\"M\",\"pid\":%u,"
        "\"args\":{\"sort_index\":%u}}",
        t->rank, t->rank, t->rank, t->rank);
    write_events(t, &head);
    wf_str_free(&head);
    if (wf_err_status(&t->why))
        return wf_fail(e, WF_MACHINE, "--trace: %s", t->why.text);
    return t->lost ? wf_fail(e, WF_MACHINE, "out of memory for a trace") : WF_OK;
}

int wf_trace_open(struct wf_err *e, const char *path, unsigned rank, size_t buffer_bytes,
                  struct wf_trace **out)
{
    struct wf_trace *t = *out = wf_alloc(e, WF_MEM_META, 1, sizeof *t, "a trace");
    if (!t)
        return WF_MACHINE;
    t->path = path;
    t->rank = rank;
    t->buffer_bytes = buffer_bytes;
    t->epoch_ns = since_1970_ns() - wf_now_ns();
    pthread_mutex_init(&t->lock, NULL);
    int status = open_file(e, path, &t->fd);
    if (!status)
        status = begin_file(e, t);
    if (status) {
        wf_close(t->fd);
        pthread_mutex_destroy(&t->lock);
        wf_free(t);
        *out = NULL;
    }
    return status;
}

void wf_trace_close(struct wf_trace *t)
{
    if (!t)
        return;
    for (struct wf_track *k = t->tracks, *next; k; k = next) {
        next = k->next;
        if (k->text.n || k->text.failed)
            write_events(t, &k->text);
        wf_str_free(&k->text);
        wf_free(k);
    }
    if (wf_err_status(&t->why))
        wf_log(WF_LOG_WARNING, "--trace: %s; what came later is not in it", t->why.text);
    else if (t->lost)
        wf_log(WF_LOG_WARNING, "--trace: out of memory; %s is not complete", t->path);
    wf_close(t->fd);
    pthread_mutex_destroy(&t->lock);
    wf_free(t);
}

/* ---- tracks ---- */

/* Its name, and its place among the others in the viewer: the order in which threads came. */
static void name_track(struct wf_track *k)
{
    const struct wf_trace *t = k->trace;
    wf_str_printf(&k->text,
                  ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%u,\"tid\":%u,\"args\":{"
                  "\"name\":",
                  t->rank, k->number);
    wf_str_json(&k->text, k->name, strlen(k->name));
    wf_str_printf(&k->text,
                  "}},\n{\"name\":\"thread_sort_index\",\"ph\":\"M\",\"pid\":%u,\"tid\":%u,"
                  "\"args\":{\"sort_index\":%u}}",
                  t->rank, k->number, k->number);
}

static struct wf_track *find_or_make(struct wf_trace *t, const char *name)
{
    struct wf_err ignored = {0};
    struct wf_track **end = &t->tracks;
    for (; *end; end = &(*end)->next)
        if (!strcmp((*end)->name, name))
            return *end;
    struct wf_track *k = *end = wf_alloc(&ignored, WF_MEM_META, 1, sizeof *k, "a trace");
    if (!k) {
        t->lost = true;
        return NULL;
    }
    k->trace = t;
    k->number = t->n_tracks++;
    memcpy(k->name, name, sizeof k->name);
    name_track(k);
    return k;
}

struct wf_track *wf_trace_track(struct wf_trace *t, const char *name, unsigned number)
{
    char full[sizeof t->tracks->name] = "";
    if (!t)
        return NULL;
    if (number == WF_TRACE_ONLY)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "%s %u", name, number);
    pthread_mutex_lock(&t->lock);
    struct wf_track *k = find_or_make(t, full);
    pthread_mutex_unlock(&t->lock);
    return k;
}

/* ---- events ---- */

static uint64_t microseconds(const struct wf_track *k, uint64_t ns)
{
    return (k->trace->epoch_ns + ns) / 1000;
}

/* The rest of an event: its arguments, and to the file if the buffer is full. */
static void finish_event(struct wf_track *k, const struct wf_trace_arg *args)
{
    struct wf_str *s = &k->text;
    wf_str_puts(s, ",\"args\":{");
    for (const struct wf_trace_arg *a = args; a && a->name; a++) {
        wf_str_printf(s, "%s\"%s\":", a == args ? "" : ",", a->name);
        if (a->text)
            wf_str_json(s, a->text, strnlen(a->text, WF_TRACE_TEXT_MAX));
        else
            wf_str_printf(s, "%" PRIu64, a->number);
    }
    wf_str_puts(s, "}}");
    if (s->n >= k->trace->buffer_bytes || s->failed)
        write_events(k->trace, s);
}

/* The end is rounded as every begin is: a span that follows does not overlap this one. */
void wf_trace_span(struct wf_track *k, const char *name, const char *category, uint64_t begin_ns,
                   uint64_t end_ns, const struct wf_trace_arg *args)
{
    if (!k)
        return;
    uint64_t begin = microseconds(k, begin_ns);
    wf_str_printf(&k->text,
                  ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%" PRIu64
                  ",\"dur\":%" PRIu64 ",\"pid\":%u,\"tid\":%u",
                  name, category, begin, microseconds(k, end_ns) - begin, k->trace->rank,
                  k->number);
    finish_event(k, args);
}

void wf_trace_counter(struct wf_track *k, const char *name, uint64_t now_ns,
                      const struct wf_trace_arg *args)
{
    if (!k)
        return;
    wf_str_printf(&k->text, ",\n{\"name\":\"%s\",\"ph\":\"C\",\"ts\":%" PRIu64 ",\"pid\":%u", name,
                  microseconds(k, now_ns), k->trace->rank);
    finish_event(k, args);
}
