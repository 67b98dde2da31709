/* record.c - records of ranks as text, in files that are written in place. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/str.h"

#define RECORD_BYTES_MAX 8192u

static const char *const state_names[WF_RANK_STATES] = {"waiting", "working", "ended"};

/* What stands behind a key runs to the end of its line. */
static void put_text(struct wf_str *s, const char *key, const char *text)
{
    wf_str_printf(s, "%s %s\n", key, text);
}

void wf_record_print(const struct wf_record *r, struct wf_str *s)
{
    char hex[33];
    wf_str_printf(s, "self %016" PRIx64 "\nrun %016" PRIx64 "\n", r->self, r->run);
    wf_str_printf(s, "size %" PRIu64 "\n", r->size);
    put_text(s, "plan", wf_hash128_hex(&r->plan, hex));
    for (unsigned i = 0; i < WF_RECORD_PARTS; i++)
        wf_str_printf(s, "part %u %s\n", i, wf_hash128_hex(&r->parts[i], hex));
    put_text(s, "host", r->host);
    put_text(s, "state", state_names[r->state]);
    wf_str_printf(s, "phase %" PRIu64 "\nbeat %" PRIu64 "\n", r->phase, r->beat);
    wf_str_printf(s, "read %" PRIu64 "\nwritten %" PRIu64 "\n", r->read, r->written);
    wf_str_printf(s, "status %d\n", r->status);
    put_text(s, "message", r->message);
    if (!s->failed) {
        struct wf_hash128 check = wf_xxh128(s->text, s->n);
        put_text(s, "end", wf_hash128_hex(&check, hex));
    }
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = strnlen(from, size - 1);
    memcpy(to, from, n);
    to[n] = 0;
}

static void take_part(struct wf_record *r, const char *rest)
{
    unsigned part;
    char hex[33];
    if (sscanf(rest, "%u %32s", &part, hex) == 2 && part < WF_RECORD_PARTS)
        wf_hash128_parse(hex, &r->parts[part]);
}

/* One that this weft does not know is trouble all the same. */
static void take_status(struct wf_record *r, const char *rest)
{
    if (sscanf(rest, "%d", &r->status) == 1 && r->status != WF_STOPPED &&
        (r->status < WF_OK || r->status > WF_BUG))
        r->status = WF_MACHINE;
}

static void take_state(struct wf_record *r, const char *rest)
{
    for (int i = 0; i < WF_RANK_STATES; i++)
        if (!strcmp(rest, state_names[i]))
            r->state = (enum wf_rank_state)i;
}

/* The line behind its key; NULL: it has another. */
static const char *behind(const char *line, const char *key)
{
    size_t n = strlen(key);
    return !strncmp(line, key, n) && line[n] == ' ' ? line + n + 1 : NULL;
}

static void take_line(struct wf_record *r, const char *line)
{
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {{"size", &r->size},
                   {"phase", &r->phase},
                   {"beat", &r->beat},
                   {"read", &r->read},
                   {"written", &r->written}};
    const char *rest;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((rest = behind(line, numbers[i].key)))
            sscanf(rest, "%" SCNu64, numbers[i].to);
    if ((rest = behind(line, "self")))
        sscanf(rest, "%" SCNx64, &r->self);
    else if ((rest = behind(line, "run")))
        sscanf(rest, "%" SCNx64, &r->run);
    else if ((rest = behind(line, "plan")))
        wf_hash128_parse(rest, &r->plan);
    else if ((rest = behind(line, "part")))
        take_part(r, rest);
    else if ((rest = behind(line, "host")))
        copy_text(r->host, sizeof r->host, rest);
    else if ((rest = behind(line, "state")))
        take_state(r, rest);
    else if ((rest = behind(line, "status")))
        take_status(r, rest);
    else if ((rest = behind(line, "message")))
        copy_text(r->message, sizeof r->message, rest);
}

bool wf_record_parse(const char *text, struct wf_record *out)
{
    struct wf_record r = {0};
    struct wf_hash128 said, is;
    const char *end = strstr(text, "\nend ");
    char hex[33] = "", line[2048];
    if (!end || sscanf(end + 5, "%32s", hex) != 1 || !wf_hash128_parse(hex, &said))
        return false;
    is = wf_xxh128(text, (size_t)(end + 1 - text));
    if (!wf_hash128_equal(&said, &is))
        return false;
    for (const char *p = text; p <= end;) {
        size_t n = strcspn(p, "\n");
        if (n < sizeof line) {
            memcpy(line, p, n);
            line[n] = 0;
            take_line(&r, line);
        }
        p += n + 1;
    }
    *out = r;
    return true;
}

int wf_record_write(struct wf_err *e, const char *path, bool create, const struct wf_record *r,
                    bool *missing)
{
    struct wf_str s = {0};
    wf_record_print(r, &s);
    int status = wf_str_finish(&s, e);
    int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0);
    int fd = status ? -1 : open(path, flags, 0666);
    if (missing)
        *missing = !status && fd < 0 && errno == ENOENT;
    if (!status && fd < 0)
        status = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write", path);
    if (!status)
        status = wf_pwrite(e, fd, path, s.text, s.n, 0);
    /* A shorter record leaves the end of a longer one behind its own last line, where nobody looks:
     * a file of another length would wait for the file system's journal, at each beat. */
    if (fd >= 0 && close(fd) && !status)
        status = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write", path);
    wf_str_free(&s);
    return status;
}

bool wf_record_read(const char *path, struct wf_record *r)
{
    char text[RECORD_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    return wf_record_parse(text, r);
}
