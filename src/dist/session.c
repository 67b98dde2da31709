/* session.c - ranks meet, work side by side, and end together. */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/num.h"
#include "../base/str.h"
#include "../base/thread.h"
#include "record.h"

#define SECOND_NS 1000000000ull
#define BEAT_NS (SECOND_NS / 2)
#define AWAY_NS (3 * SECOND_NS)
#define CLEARING_NS (5 * SECOND_NS) /* for rank 0 to clear away what lies there */
#define TICK_US 20000               /* of the thread that beats */
#define LOOK_US_MIN 2000            /* while waiting: between two looks, growing */
#define LOOK_US_MAX 10000
#define LONG_LOOK_US 100000
#define ALL_ENDED UINT64_MAX /* a phase */
#define GOODBYE_S 12u
#define LINGER_S 5u /* one that failed stays for the others to read why */
#define TAKEN_S 3u  /* for rank 0 to clear away what a run before has left */
#define TELL_S 3u
#define ALIVE_NS (3 * SECOND_NS) /* several beats */
#define FOLDER_WAIT_S 30u        /* for a sign of rank 0 */

/* What is known of another rank. */
struct peer {
    bool seen;
    struct wf_record record;
    uint64_t changed_ns; /* when its record last said something new */
};

struct wf_session {
    struct wf_arena arena;
    struct wf_rank rank;
    const char *partial, *parent, *folder, *own_path;
    bool has_met;
    const char **paths; /* of the records, by rank; those that this rank reads */
    const struct wf_session_part *parts;
    size_t n_parts;
    const volatile int *user_stop;

    /* Bytes of this rank, and of the others as last heard. */
    atomic_uint_fast64_t read, written, others_read, others_written;

    pthread_mutex_t lock; /* everything below; held while files are read */
    struct wf_record own;
    struct peer *peers; /* by rank; of a rank that is not read: never seen */
    uint64_t written_ns, looked_ns, begun_ns;
    bool is_taken;         /* another process, which has been called, stands in this one's place */
    bool called;           /* rank 0 knows this rank, and its record exists */
    bool is_over;          /* whoever is silent now has a right to be */
    struct wf_err trouble; /* the first that went wrong with another rank */
    volatile int stop;
    pthread_t thread;
    bool has_thread, closing;
};

static bool is_first(const struct wf_session *s)
{
    return s->rank.rank == 0;
}

/* Rank 0 reads all; the others read rank 0. */
static unsigned first_peer(const struct wf_session *s)
{
    return is_first(s) ? 1 : 0;
}

static unsigned end_peer(const struct wf_session *s)
{
    return is_first(s) ? s->rank.size : 1;
}

/* ---- calls ---- */

static void called_path(const struct wf_session *s, unsigned r, char *path, size_t size)
{
    snprintf(path, size, "%s.called", s->paths[r]);
}

/* Whether rank 0 has called this very process, and what its number is. */
static bool is_called(const struct wf_session *s, uint64_t *run)
{
    char path[4200], text[48] = "";
    uint64_t self = 0;
    called_path(s, s->rank.rank, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n == 34 && text[33] == '\n' &&
           sscanf(text, "%16" SCNx64 " %16" SCNx64, &self, run) == 2 && self == s->own.self;
}

/* ---- one exchange of records ---- */

static void note_trouble(struct wf_session *s, int status, const char *text)
{
    wf_fail(&s->trouble, (enum wf_status)status, "%s", text);
    s->stop = 1;
}

/* Whether the record in this rank's place is that of a process at work, of this run or another. */
static bool is_taken(const struct wf_session *s)
{
    struct wf_record there;
    return !s->called && wf_record_read(s->own_path, &there) && there.self != s->own.self &&
           there.run != 0;
}

/* The record as it is now. Before the call the file is made; afterwards it must be there, as
 * another run that takes OUT.partial over removes it, unless rank 0 still calls this very process.
 */
static void write_own(struct wf_session *s)
{
    struct wf_err e = {0};
    bool missing;
    uint64_t run;
    s->own.beat++;
    s->own.read = atomic_load(&s->read);
    s->own.written = atomic_load(&s->written);
    s->written_ns = wf_now_ns();
    s->is_taken = is_taken(s);
    if (s->is_taken)
        return;
    int status = wf_record_write(&e, s->own_path, !s->called, &s->own, &missing);
    if (status && missing && !is_first(s) && is_called(s, &run) && run == s->own.run) {
        wf_err_clear(&e);
        status = wf_record_write(&e, s->own_path, true, &s->own, &missing);
    }
    if (!status || s->is_over)
        return;
    if (!s->called)
        s->written_ns = 0; /* the folder is not there yet, or not yet rank 0's: at the next look */
    if (!s->called && (missing || wf_now_ns() - s->begun_ns < CLEARING_NS))
        return;
    if (missing && s->called && !is_first(s))
        return; /* rank 0 dissolves, or died and was replaced: its silence will tell */
    if (!missing)
        note_trouble(s, wf_err_status(&e), e.text);
}

static const char *who(const struct wf_session *s, unsigned r, char text[320])
{
    const struct peer *p = &s->peers[r];
    if (p->seen)
        snprintf(text, 320, "rank %u on %s", r, p->record.host);
    else
        snprintf(text, 320, "rank %u", r);
    return text;
}

/* A rank of this run that ended badly. Stopped by a signal it is no error, but all stop. */
static void judge(struct wf_session *s, unsigned r)
{
    const struct wf_record *k = &s->peers[r].record;
    char text[320], line[1400];
    if (k->state != WF_RANK_ENDED || k->status == WF_OK)
        return;
    if (*k->message)
        snprintf(line, sizeof line, "%s", k->message);
    else
        snprintf(line, sizeof line, "%s ended without a word", who(s, r, text));
    note_trouble(s, k->status, line);
}

static void read_peer(struct wf_session *s, unsigned r)
{
    struct peer *p = &s->peers[r];
    struct wf_record now;
    if (!wf_record_read(s->paths[r], &now))
        return;
    if (p->seen && now.self == p->record.self && now.beat == p->record.beat)
        return;
    if (s->called && now.run != s->own.run) /* left by another run, or of one that takes over */
        return;
    p->record = now;
    p->seen = true;
    p->changed_ns = wf_now_ns();
    if (s->called)
        judge(s, r);
}

/* Who was there, works with us, and is not heard of any more. */
static void listen(struct wf_session *s, unsigned r)
{
    const struct peer *p = &s->peers[r];
    char text[320], line[480];
    if (!s->called || !p->seen || s->is_over || p->record.state == WF_RANK_ENDED ||
        wf_now_ns() - p->changed_ns < WF_SILENCE_S * SECOND_NS)
        return;
    snprintf(line, sizeof line, "%s has not been heard of for %u seconds", who(s, r, text),
             WF_SILENCE_S);
    note_trouble(s, WF_MACHINE, line);
}

/* While this process itself did not get to look (it was stopped, or the file system hung, as it
 * does on all nodes when a server fails over), nobody was silent. */
static void forgive(struct wf_session *s)
{
    uint64_t now = wf_now_ns(), away = now - s->looked_ns;
    for (unsigned r = first_peer(s); away > AWAY_NS && r < end_peer(s); r++)
        s->peers[r].changed_ns = wf_min_u64(now, s->peers[r].changed_ns + away);
    s->looked_ns = now;
}

static void sum_others(struct wf_session *s)
{
    uint64_t read = 0, written = 0;
    for (unsigned r = first_peer(s); is_first(s) && r < end_peer(s); r++) {
        read += s->peers[r].record.read;
        written += s->peers[r].record.written;
    }
    atomic_store(&s->others_read, read);
    atomic_store(&s->others_written, written);
}

/* Under the lock. `now`: something has changed that others wait for. */
static void exchange(struct wf_session *s, bool now)
{
    if (now || wf_now_ns() - s->written_ns >= BEAT_NS)
        write_own(s);
    for (unsigned r = first_peer(s); r < end_peer(s); r++)
        read_peer(s, r);
    forgive(s);
    for (unsigned r = first_peer(s); r < end_peer(s); r++)
        listen(s, r);
    sum_others(s);
}

static void *beat(void *arg)
{
    struct wf_session *s = arg;
    uint64_t due = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        if (*s->user_stop)
            s->stop = 1;
        if (wf_now_ns() >= due) {
            exchange(s, false);
            due = wf_now_ns() + BEAT_NS;
        }
        pthread_mutex_unlock(&s->lock);
        usleep(TICK_US);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- opening ---- */

/* Unlike that of any other process; no secret. */
static uint64_t draw_self(const char *host)
{
    struct {
        uint64_t now, pid;
        char host[256];
        uint8_t noise[16];
    } seed = {.now = wf_now_ns(), .pid = (uint64_t)getpid()};
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, seed.noise, sizeof seed.noise) < 0)
        seed.noise[0] = 0;
    wf_close(fd);
    snprintf(seed.host, sizeof seed.host, "%s", host);
    struct wf_hash128 h = wf_xxh128(&seed, sizeof seed);
    uint64_t self;
    memcpy(&self, h.bytes, sizeof self);
    return self | 1; /* 0 stands for none */
}

/* Slurm's name of the node, where several may be one machine. */
static void find_host(char *host, size_t size)
{
    const char *node = getenv("SLURMD_NODENAME");
    if (node && *node)
        snprintf(host, size, "%s", node);
    else if (gethostname(host, size))
        snprintf(host, size, "an unnamed host");
    host[size - 1] = 0;
    for (char *p = host; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
}

static int set_paths(struct wf_err *e, struct wf_session *s, const char *partial)
{
    struct wf_arena *a = &s->arena;
    size_t n;
    const char *last = wf_path_last(partial, &n);
    s->partial = wf_arena_strdup(a, e, partial);
    s->parent = last == partial ? "." : wf_arena_strndup(a, e, partial, (size_t)(last - partial));
    if (!s->parent)
        return WF_MACHINE;
    s->folder = s->partial ? wf_path_join(a, e, partial, WF_RANKS_FOLDER) : NULL;
    s->paths = wf_arena_alloc(a, e, s->rank.size, sizeof *s->paths);
    s->peers = wf_arena_alloc(a, e, s->rank.size, sizeof *s->peers);
    if (!s->folder || !s->paths || !s->peers)
        return WF_MACHINE;
    for (unsigned r = 0; r < s->rank.size; r++)
        if (!(s->paths[r] = wf_arena_printf(a, e, "%s/%u", s->folder, r)))
            return WF_MACHINE;
    s->own_path = s->paths[s->rank.rank];
    return WF_OK;
}

static int copy_parts(struct wf_err *e, struct wf_session *s, const struct wf_session_options *o)
{
    struct wf_session_part *parts = wf_arena_alloc(&s->arena, e, o->n_parts, sizeof *parts);
    if (!parts)
        return WF_MACHINE;
    for (size_t i = 0; i < o->n_parts && i < WF_RECORD_PARTS; i++) {
        parts[i] = o->parts[i];
        s->own.parts[i] = o->parts[i].hash;
    }
    s->parts = parts;
    s->n_parts = o->n_parts < WF_RECORD_PARTS ? o->n_parts : WF_RECORD_PARTS;
    return WF_OK;
}

/* A rank that is early may write its record in between. */
static int remove_folder(struct wf_err *e, struct wf_session *s)
{
    struct wf_err first = {0};
    for (int attempt = 0; attempt < 20 && wf_remove_tree(&first, s->folder); attempt++) {
        wf_err_clear(&first);
        usleep(TICK_US);
    }
    return wf_remove_tree(e, s->folder);
}

static int begin(struct wf_err *e, struct wf_session *s)
{
    int status = WF_OK;
    if (is_first(s)) {
        status = remove_folder(e, s);
        if (!status)
            status = wf_make_folder(e, s->folder);
        s->called = true;
        s->own.run = s->own.self;
        if (!status)
            status = wf_record_write(e, s->own_path, true, &s->own, NULL);
    }
    if (!status)
        status = wf_thread_start(e, &s->thread, "weft-ranks", beat, s);
    s->has_thread = !status;
    return status;
}

int wf_session_open(struct wf_err *e, const struct wf_session_options *o, struct wf_session **out)
{
    *out = NULL;
    if (o->rank->size == 1)
        return WF_OK;
    struct wf_session *s = wf_alloc(e, WF_MEM_META, 1, sizeof *s, "ranks");
    if (!s)
        return WF_MACHINE;
    s->rank = *o->rank;
    s->user_stop = o->stop;
    s->begun_ns = wf_now_ns();
    s->own.plan = o->plan;
    s->own.size = o->rank->size;
    find_host(s->own.host, sizeof s->own.host);
    s->own.self = draw_self(s->own.host);
    pthread_mutex_init(&s->lock, NULL);
    int status = set_paths(e, s, o->partial);
    if (!status)
        status = copy_parts(e, s, o);
    *out = s;
    return status ? status : begin(e, s);
}

/* ---- waiting ---- */

struct wait {
    uint64_t begin_ns;
    useconds_t look_us;
};

static struct wait begin_wait(void)
{
    return (struct wait){wf_now_ns(), LOOK_US_MIN};
}

/* File systems remember for a while that a name was not there; opening its folder makes them ask.
 */
static void look_anew(const struct wf_session *s)
{
    const char *folders[] = {s->parent, s->partial, s->folder};
    for (int i = 0; i < 3; i++)
        wf_close(open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/* Gives up the lock for a moment. Many ranks are looked at less often, and so is what takes long.
 */
static void rest(struct wf_session *s, struct wait *w)
{
    bool is_long = wf_now_ns() - w->begin_ns > SECOND_NS;
    if (is_long && !s->has_met)
        look_anew(s);
    useconds_t most = (is_long ? LONG_LOOK_US : LOOK_US_MAX) + 1000 * s->rank.size;
    pthread_mutex_unlock(&s->lock);
    usleep(w->look_us);
    pthread_mutex_lock(&s->lock);
    w->look_us = w->look_us * 2 < most ? w->look_us * 2 : most;
    exchange(s, false);
    if (*s->user_stop)
        s->stop = 1;
}

static bool waited(const struct wait *w, unsigned seconds)
{
    return wf_now_ns() - w->begin_ns >= seconds * SECOND_NS;
}

/* While stopped there is nothing to wait for. If another rank is the cause, the verdict says so. */
static int stopped(const struct wf_session *s, struct wf_err *e)
{
    return s->stop ? wf_fail(e, WF_STOPPED,
                             "stopped by a signal; the work so far is in %s: run the same command "
                             "with --resume to go on",
                             s->partial)
                   : WF_OK;
}

/* ---- meeting ---- */

/* Tells rank r whom it works with. */
static int call(struct wf_err *e, const struct wf_session *s, unsigned r, uint64_t self)
{
    char path[4200], text[48];
    called_path(s, r, path, sizeof path);
    int n = snprintf(text, sizeof text, "%016" PRIx64 " %016" PRIx64 "\n", self, s->own.self);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write", path);
    int status = wf_pwrite(e, fd, path, text, (size_t)n, 0);
    wf_close(fd);
    return status;
}

static int compare_plans(struct wf_err *e, const struct wf_session *s, unsigned r,
                         const struct wf_record *k)
{
    const char *differs = "the plan";
    if (k->size != s->rank.size)
        return wf_fail(e, WF_USAGE,
                       "rank %u on %s says that it is one of %" PRIu64 " ranks, and rank 0 of %u",
                       r, k->host, k->size, s->rank.size);
    if (wf_hash128_equal(&k->plan, &s->own.plan))
        return WF_OK;
    for (size_t i = s->n_parts; i-- > 0;)
        if (!wf_hash128_equal(&k->parts[i], &s->parts[i].hash))
            differs = s->parts[i].name;
    return wf_fail(e, WF_USAGE,
                   "rank %u on %s has another merge before it than rank 0: %s differs; start all "
                   "ranks with the same command and files",
                   r, k->host, differs);
}

/* What rank 0 knows of a rank before it works. */
struct guest {
    uint64_t self, called; /* its number; the number that was called. 0: none */
};

/* One look at rank r, which has not joined yet. */
static int look_for(struct wf_err *e, struct wf_session *s, unsigned r, struct guest *g)
{
    struct wf_record k;
    if (s->peers[r].seen || !wf_record_read(s->paths[r], &k) || k.run)
        return WF_OK; /* exchange() takes records of this run */
    if (k.state == WF_RANK_ENDED)
        return wf_fail(e, k.status ? (enum wf_status)k.status : WF_MACHINE, "%s", k.message);
    g->self = k.self;
    return compare_plans(e, s, r, &k);
}

/* All are there: calls those that were not called yet, or are other processes by now. */
static int call_all(struct wf_err *e, struct wf_session *s, struct guest *guests)
{
    int status = WF_OK;
    for (unsigned r = 1; !status && r < s->rank.size; r++) {
        struct guest *g = &guests[r];
        if (s->peers[r].seen || g->called == g->self)
            continue;
        status = call(e, s, r, g->self);
        g->called = g->self;
    }
    return status;
}

static int meet_all(struct wf_err *e, struct wf_session *s)
{
    struct wait w = begin_wait();
    struct guest *guests = wf_arena_alloc(&s->arena, e, s->rank.size, sizeof *guests);
    unsigned missing = 0, joined = 1;
    int status = guests ? WF_OK : WF_MACHINE;
    for (; !status && joined < s->rank.size; rest(s, &w)) {
        unsigned here = joined = 1;
        for (unsigned r = 1; !status && r < s->rank.size; r++) {
            status = look_for(e, s, r, &guests[r]);
            joined += s->peers[r].seen;
            here += s->peers[r].seen || guests[r].self;
            missing = s->peers[r].seen || guests[r].self ? missing : r;
        }
        if (!status)
            status = stopped(s, e);
        if (!status && here == s->rank.size)
            status = call_all(e, s, guests);
        if (!status && joined < s->rank.size && waited(&w, WF_MEET_S))
            status = wf_fail(e, WF_MACHINE,
                             "rank %u of %u has not shown up within %u seconds; did all start? Do "
                             "they share the file system of %s?",
                             missing, s->rank.size, WF_MEET_S, s->partial);
    }
    return status;
}

/* Rank 0 may have ended before it called anybody: believed if it was seen alive. */
static int meet_first(struct wf_err *e, struct wf_session *s)
{
    struct wait w = begin_wait();
    const struct peer *first = &s->peers[0];
    uint64_t run = 0, beat = 0, alive_ns = w.begin_ns;
    int status = WF_OK;
    bool alive = false;
    for (; !status && !is_called(s, &run); rest(s, &w)) {
        if (first->seen && first->record.beat != beat) {
            alive = alive || beat;
            beat = first->record.beat;
            alive_ns = wf_now_ns();
        }
        status = stopped(s, e);
        if (!status && s->is_taken && alive && first->record.state == WF_RANK_WORKING &&
            waited(&w, TAKEN_S))
            status = wf_fail(e, WF_MACHINE, "another run is at work in %s", s->partial);
        if (!status && alive && first->record.state == WF_RANK_ENDED)
            status =
                wf_fail(e, first->record.status ? (enum wf_status)first->record.status : WF_MACHINE,
                        "%s", first->record.message);
        if (!status &&
            (wf_now_ns() - alive_ns > FOLDER_WAIT_S * SECOND_NS || waited(&w, 2 * WF_MEET_S)))
            status = wf_fail(e, WF_MACHINE,
                             "no sign of rank 0 in %s; did it fail? Processes that merge for "
                             "themselves are started with --ranks 1",
                             s->folder);
    }
    if (status)
        return status;
    s->called = true;
    s->own.run = run;
    s->own.state = WF_RANK_WORKING;
    s->peers[0] = (struct peer){.seen = true, .changed_ns = wf_now_ns()};
    snprintf(s->peers[0].record.host, sizeof s->peers[0].record.host, "another host");
    exchange(s, true);
    return WF_OK;
}

int wf_session_meet(struct wf_err *e, struct wf_session *s)
{
    if (!s)
        return WF_OK;
    pthread_mutex_lock(&s->lock);
    s->own.state = is_first(s) ? WF_RANK_WORKING : WF_RANK_WAITING;
    exchange(s, true);
    int status = is_first(s) ? meet_all(e, s) : meet_first(e, s);
    s->has_met = !status;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- working and ending together ---- */

static bool all_reached(const struct wf_session *s, uint64_t phase)
{
    for (unsigned r = first_peer(s); r < end_peer(s); r++)
        if (s->peers[r].record.phase < phase)
            return false;
    return true;
}

/* Rank 0 is the last to arrive: who sees it there knows that all are. */
int wf_session_barrier(struct wf_err *e, struct wf_session *s)
{
    if (!s)
        return WF_OK;
    struct wait w = begin_wait();
    int status = WF_OK;
    pthread_mutex_lock(&s->lock);
    uint64_t phase = s->own.phase + 1;
    if (!is_first(s)) {
        s->own.phase = phase;
        exchange(s, true);
    }
    while (!(status = stopped(s, e)) && !all_reached(s, phase))
        rest(s, &w);
    if (!status && is_first(s)) {
        s->own.phase = phase;
        exchange(s, true);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* All others are behind their last barrier. */
static bool all_left(const struct wf_session *s)
{
    for (unsigned r = first_peer(s); r < end_peer(s); r++)
        if (s->peers[r].record.state != WF_RANK_ENDED)
            return false;
    return true;
}

int wf_session_dissolve(struct wf_err *e, struct wf_session *s)
{
    int status = WF_OK;
    if (!s)
        return WF_OK;
    struct wait w = begin_wait();
    pthread_mutex_lock(&s->lock);
    if (is_first(s)) {
        while (!(status = stopped(s, e)) && !all_left(s))
            rest(s, &w);
        s->is_over = !status;
        if (!status)
            status = remove_folder(e, s);
    } else {
        s->own.state = WF_RANK_ENDED;
        exchange(s, true);
        while (!(status = stopped(s, e)) && wf_exists(s->folder))
            rest(s, &w);
        s->is_over = !status;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

const volatile int *wf_session_stop(const struct wf_session *s, const volatile int *user)
{
    return s ? &s->stop : user;
}

int wf_session_check(void *session, struct wf_err *e)
{
    return session ? stopped(session, e) : WF_OK;
}

void wf_session_count(struct wf_session *s, uint64_t read, uint64_t written)
{
    if (!s)
        return;
    atomic_store(&s->read, read);
    atomic_store(&s->written, written);
}

void wf_session_sums(struct wf_session *s, uint64_t *read, uint64_t *written)
{
    if (!s)
        return;
    *read = atomic_load(&s->read) + atomic_load(&s->others_read);
    *written = atomic_load(&s->written) + atomic_load(&s->others_written);
}

static void name_rank(struct wf_err *e, unsigned rank, const char *host)
{
    char text[WF_ERR_TEXT_MAX];
    int status = wf_err_status(e);
    snprintf(text, sizeof text, "%s", e->text);
    wf_err_clear(e);
    wf_fail(e, (enum wf_status)status, "rank %u on %s: %s", rank, host, text);
}

int wf_session_verdict(struct wf_err *e, struct wf_session *s, int status)
{
    if (!s || status == WF_OK)
        return status;
    pthread_mutex_lock(&s->lock);
    int trouble = wf_err_status(&s->trouble);
    if (status == WF_STOPPED && trouble && trouble != WF_STOPPED) {
        status = trouble;
        wf_err_clear(e);
        wf_fail(e, (enum wf_status)status, "%s", s->trouble.text);
    } else if (status != WF_STOPPED && strncmp(e->text, "rank ", 5)) {
        name_rank(e, s->rank.rank, s->own.host);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- the end ---- */

/* Whether rank r is not at work any more: it says so, or it is silent. Before it has joined, its
 * record is no part of this run; one that has not shown up may still come and ask. */
static bool has_ended(const struct wf_session *s, unsigned r, const struct wait *w)
{
    const struct peer *p = &s->peers[r];
    struct wf_record k;
    if (!p->seen)
        return wf_record_read(s->paths[r], &k) ? k.state == WF_RANK_ENDED : waited(w, LINGER_S);
    return p->record.state == WF_RANK_ENDED || wf_now_ns() - p->changed_ns >= LINGER_S * SECOND_NS;
}

/* Rank 0 looks at the others; these take its word that all have ended. Launchers may kill all when
 * the first has gone, so nobody goes while another still saves its work. */
static bool all_ended(const struct wf_session *s, const struct wait *w)
{
    const struct wf_record *first = &s->peers[0].record;
    if (!is_first(s) && first->state != WF_RANK_ENDED)
        return has_ended(s, 0, w);
    if (!is_first(s)) /* rank 0 may have removed all by now */
        return first->phase == ALL_ENDED || !wf_exists(s->own_path);
    for (unsigned r = first_peer(s); r < end_peer(s); r++)
        if (!has_ended(s, r, w))
            return false;
    return true;
}

static void say_goodbye(struct wf_session *s, struct wf_err *e)
{
    struct wait w = begin_wait();
    s->own.state = WF_RANK_ENDED;
    s->own.status = wf_err_status(e);
    snprintf(s->own.message, sizeof s->own.message, "%.1023s", s->own.status ? e->text : "");
    if (s->is_over)
        return;
    exchange(s, true);
    while (s->own.status && !all_ended(s, &w) && !waited(&w, GOODBYE_S))
        rest(s, &w);
    if (is_first(s) && s->own.status) {
        s->own.phase = ALL_ENDED;
        exchange(s, true);
    }
    if (!s->called && !s->is_taken && !s->peers[0].seen) /* nobody will read it */
        unlink(s->own_path);
}

void wf_session_close(struct wf_session *s, struct wf_err *e)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->has_thread)
        say_goodbye(s, e);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    wf_arena_destroy(&s->arena);
    wf_free(s);
}

/* ---- word from outside ---- */

bool wf_session_is_alive(const char *partial, const volatile int *stop)
{
    struct wf_record first;
    uint64_t begin = wf_now_ns(), beat = 0;
    char path[4200];
    snprintf(path, sizeof path, "%s/" WF_RANKS_FOLDER "/0", partial);
    for (; !*stop && wf_now_ns() - begin < ALIVE_NS; usleep(TICK_US)) {
        if (!wf_record_read(path, &first) || first.state == WF_RANK_ENDED)
            continue;
        if (beat && first.beat != beat)
            return true;
        beat = first.beat;
    }
    return false;
}

void wf_session_tell(const struct wf_rank *rank, const char *partial, struct wf_err *e)
{
    struct wf_record own = {.state = WF_RANK_ENDED, .beat = 1}, first;
    char path[4200], first_path[4200];
    uint64_t begin = wf_now_ns(), beat = 0;
    find_host(own.host, sizeof own.host);
    own.self = draw_self(own.host);
    name_rank(e, rank->rank, own.host);
    own.status = wf_err_status(e);
    snprintf(own.message, sizeof own.message, "%.1023s", e->text);
    snprintf(path, sizeof path, "%s/" WF_RANKS_FOLDER "/%u", partial, rank->rank);
    snprintf(first_path, sizeof first_path, "%s/" WF_RANKS_FOLDER "/0", partial);
    for (bool told = false; !told && wf_now_ns() - begin < TELL_S * SECOND_NS; usleep(TICK_US)) {
        struct wf_err ignored = {0};
        if (!wf_record_read(first_path, &first) || first.state == WF_RANK_ENDED)
            continue;
        told = beat && first.beat != beat; /* it lives */
        beat = first.beat;
        if (told)
            wf_record_write(&ignored, path, true, &own, NULL);
    }
}
