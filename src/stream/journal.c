/* journal.c - the record of finished blocks. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/fault.h"
#include "../base/file.h"
#include "../base/num.h"
#include "../base/str.h"

#define JOURNAL_BYTES_MAX ((size_t)256 << 20)
#define CHECK_DIGITS 16

int wf_journal_open(struct wf_err *e, const char *path, bool create, struct wf_journal *j)
{
    *j = (struct wf_journal){.path = path, .fd = -1};
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0);
    int fd = wf_fault(WF_FAULT_OPEN) ? (errno = EIO, -1) : open(path, flags, 0666);
    if (fd < 0 && errno == ENOENT && !create)
        return WF_OK;
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot open", path);
    int status = wf_lock_fd(e, fd, path);
    if (status) {
        close(fd);
        return status;
    }
    j->fd = fd;
    return WF_OK;
}

int wf_journal_look(struct wf_err *e, const char *path, struct wf_journal *j)
{
    struct stat st;
    *j = (struct wf_journal){.path = path, .fd = -1};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT && errno != ELOOP)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot open", path);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        fd = -1;
    }
    j->fd = fd;
    return WF_OK;
}

/* One line with its checksum and newline. */
static void add_line(struct wf_str *s, const char *text)
{
    struct wf_hash128 h = wf_xxh128(text, strlen(text));
    char hex[33];
    wf_str_printf(s, "%s %.*s\n", text, CHECK_DIGITS, wf_hash128_hex(&h, hex));
}

/* Checks and cuts off the checksum; false for a line that is not whole. */
static bool check_line(char *line, size_t n)
{
    if (n < CHECK_DIGITS + 2 || line[n - CHECK_DIGITS - 1] != ' ')
        return false;
    struct wf_hash128 h = wf_xxh128(line, n - CHECK_DIGITS - 1);
    char hex[33];
    wf_hash128_hex(&h, hex);
    if (memcmp(line + n - CHECK_DIGITS, hex, CHECK_DIGITS))
        return false;
    line[n - CHECK_DIGITS - 1] = 0;
    return true;
}

struct loader {
    const struct wf_plan *plan;
    bool head, same, other;
    enum wf_plan_part differs;
    void (*on_block)(void *, uint32_t, uint64_t, const struct wf_hash128 *);
    void *arg;
};

static void load_part(struct loader *l, const char *rest)
{
    struct wf_hash128 h;
    unsigned part;
    char hex[33];
    if (sscanf(rest, "%u %32s", &part, hex) != 2 || part >= WF_PARTS || !wf_hash128_parse(hex, &h))
        return;
    if (!l->other && !wf_hash128_equal(&h, &l->plan->parts[part])) {
        l->other = true;
        l->differs = (enum wf_plan_part)part;
    }
}

static void load_block(struct loader *l, const char *rest)
{
    struct wf_hash128 h;
    char hex[33];
    uint64_t shard, block;
    if (!l->same || sscanf(rest, "%" SCNu64 " %" SCNu64 " %32s", &shard, &block, hex) != 3)
        return;
    bool hashed = wf_hash128_parse(hex, &h);
    if (shard < l->plan->n_shards && (hashed || !strcmp(hex, "-")))
        l->on_block(l->arg, (uint32_t)shard, block, hashed ? &h : NULL);
}

static void load_line(struct loader *l, const char *line)
{
    struct wf_hash128 h;
    if (!strcmp(line, "weft-journal 1"))
        l->head = true;
    else if (!l->head)
        return;
    else if (wf_starts_with(line, "part "))
        load_part(l, line + 5);
    else if (wf_starts_with(line, "plan ") && wf_hash128_parse(line + 5, &h))
        l->same = !l->other && wf_hash128_equal(&h, &l->plan->hash);
    else if (wf_starts_with(line, "block "))
        load_block(l, line + 6);
}

/* Reads what is there into *text; an empty or oversized file counts as nothing. */
static int read_all(struct wf_err *e, struct wf_journal *j, char **text, size_t *n)
{
    off_t end = lseek(j->fd, 0, SEEK_END);
    *text = NULL;
    *n = end > 0 && (uint64_t)end <= JOURNAL_BYTES_MAX ? (size_t)end : 0;
    if (*n == 0)
        return WF_OK;
    *text = wf_alloc(e, WF_MEM_TEXT, *n + 1, 1, "the journal");
    return *text ? wf_pread(e, j->fd, j->path, *text, *n, 0) : WF_MACHINE;
}

int wf_journal_load(struct wf_err *e, struct wf_journal *j, const struct wf_plan *plan,
                    enum wf_journal_state *state, enum wf_plan_part *differs,
                    void (*on_block)(void *, uint32_t, uint64_t, const struct wf_hash128 *),
                    void *arg)
{
    struct loader l = {.plan = plan, .on_block = on_block, .arg = arg};
    char *text = NULL;
    size_t n = 0;
    *state = WF_JOURNAL_NONE;
    j->bytes = 0;
    if (j->fd < 0)
        return WF_OK;
    int status = read_all(e, j, &text, &n);
    for (size_t at = 0; !status && at < n;) {
        char *end = memchr(text + at, '\n', n - at);
        if (!end || !check_line(text + at, (size_t)(end - text) - at))
            break;
        load_line(&l, text + at);
        at = j->bytes = (size_t)(end - text) + 1;
    }
    if (l.head && l.other)
        *state = WF_JOURNAL_OTHER;
    else if (l.same)
        *state = WF_JOURNAL_SAME;
    *differs = l.differs;
    wf_free(text);
    return status;
}

static int append(struct wf_err *e, struct wf_journal *j, struct wf_str *s)
{
    int status = wf_str_finish(s, e);
    if (!status)
        status = wf_pwrite(e, j->fd, j->path, s->text, s->n, j->bytes);
    if (!status)
        status = wf_fdatasync(e, j->fd, j->path);
    if (!status)
        j->bytes += s->n;
    wf_str_free(s);
    return status;
}

int wf_journal_begin(struct wf_err *e, struct wf_journal *j, const struct wf_plan *plan)
{
    struct wf_str s = {0};
    char line[96], hex[33];
    if (ftruncate(j->fd, 0))
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot empty", j->path);
    j->bytes = 0;
    add_line(&s, "weft-journal 1");
    for (unsigned p = 0; p < WF_PARTS; p++) {
        snprintf(line, sizeof line, "part %u %s", p, wf_hash128_hex(&plan->parts[p], hex));
        add_line(&s, line);
    }
    snprintf(line, sizeof line, "plan %s", wf_hash128_hex(&plan->hash, hex));
    add_line(&s, line);
    return append(e, j, &s);
}

int wf_journal_add(struct wf_err *e, struct wf_journal *j, const struct wf_journal_block *blocks,
                   size_t n)
{
    struct wf_str s = {0};
    char line[96], hex[33];
    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof line, "block %" PRIu32 " %" PRIu64 " %s", blocks[i].shard,
                 blocks[i].block, blocks[i].hashed ? wf_hash128_hex(&blocks[i].hash, hex) : "-");
        add_line(&s, line);
    }
    return append(e, j, &s);
}

void wf_journal_close(struct wf_journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
}
