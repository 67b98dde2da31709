/* test_transport.c CASE FOLDER - run by mpirun as several ranks (tests/cluster/transport.sh): what
 * is summed and gathered over MPI, and how a rank learns that another does not come.
 *
 * A rank for which the case went as it should makes a file FOLDER/ok.RANK: the exit status is the
 * launcher's to change. Rank and size are what the process manager says.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/backend/device.h"
#include "../../src/base/clock.h"
#include "../../src/base/file.h"
#include "../../src/base/mem.h"
#include "../../src/dist/join_ranks.h"
#include "fake_comm.h"

#define MIB ((size_t)1 << 20)

static unsigned rank, ranks;
static int failures;

#define CHECK(truth, ...)                                                                          \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            failures++;                                                                            \
            fprintf(stderr, "rank %u of %u, line %d: ", rank, ranks, __LINE__);                    \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

static unsigned number(const char *const *names)
{
    uint64_t n = 0;
    for (; *names; names++)
        if (getenv(*names))
            for (const char *c = getenv(*names); *c >= '0' && *c <= '9'; c++)
                n = n * 10 + (uint64_t)(*c - '0');
    return (unsigned)n;
}

/* The devices that TEST_DEVICES wants, and this rank's. */
static void find_devices(const struct wf_plugin **plugin, uint32_t *device)
{
    static struct wf_devices *devices;
    struct wf_err e = {0};
    struct wf_device_options wanted = {.required = true};
    const char *kind = getenv("TEST_DEVICES");
    char why[256];
    bool have = kind && (strcmp(kind, "some") || rank % 2 == 0);
    *plugin = have ? &fake_devices : NULL;
    *device = rank % 4;
    if (!kind || strcmp(kind, "real"))
        return;
    if (!devices && wf_devices_open(&e, &wanted, &devices, why)) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    *plugin = wf_devices_plugin(devices);
    *device = wf_devices_index(devices, rank % wf_devices_count(devices));
}

static struct wf_join_options options(void)
{
    const struct wf_plugin *plugin;
    uint32_t device;
    find_devices(&plugin, &device);
    return (struct wf_join_options){.devices = plugin,
                                    .device = device,
                                    .folder = fake_folder,
                                    .rank = rank,
                                    .ranks = ranks,
                                    .launcher = "the test",
                                    .size_variable = "PMI_SIZE",
                                    .purpose = "numbers of a test",
                                    .meet_ms = 60000,
                                    .move_ms = 60000};
}

static struct wf_join *open_join(const struct wf_join_options *o)
{
    struct wf_err e = {0};
    struct wf_join *join = NULL;
    if (wf_join_open(&e, o, &join)) {
        fprintf(stderr, "rank %u of %u: %s\n", rank, ranks, e.text);
        exit(1);
    }
    CHECK(join->ranks == ranks, "%u ranks", join->ranks);
    return join;
}

static void leave(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    CHECK(!wf_join_finish(&e, &o), "%s", e.text);
}

/* ---- sums and gatherings ---- */

/* Value i of rank r: beyond 2^32, and so large for some that sums wrap. */
static uint64_t value(unsigned r, size_t i)
{
    return (i + 1) * 0x9e3779b97f4a7c15u + r * 0x100000001u;
}

static void check_sum(struct wf_join *join, size_t n)
{
    struct wf_err e = {0};
    uint64_t *values = wf_alloc(&e, WF_MEM_META, n, sizeof *values, "a test");
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        values[i] = value(rank, i);
    CHECK(!join->sum(join->arg, &e, values, n), "sum of %zu: %s", n, e.text);
    for (size_t i = 0; i < n; i++) {
        uint64_t want = 0;
        for (unsigned r = 0; r < ranks; r++)
            want += value(r, i);
        wrong += values[i] != want;
    }
    CHECK(!wrong, "%zu of %zu sums are wrong", wrong, n);
    wf_free(values);
}

/* What rank r brings to gathering k. */
static size_t share(unsigned k, unsigned r)
{
    static const size_t even[] = {0, 1, 7, 16, 4096, 100003};
    size_t kinds = sizeof even / sizeof *even;
    if (k < kinds)
        return even[k];
    switch (k - kinds) {
    case 0: /* uneven, one of them nothing */
        return r * 1001;
    case 1: /* the last alone */
        return r == ranks - 1 ? 300007 : 0;
    default: /* the first alone */
        return r == 0 ? 300007 : 0;
    }
}
#define GATHERINGS 9u

static unsigned char byte(unsigned r, size_t i)
{
    return (unsigned char)(i * 31 + i / 251 + r * 101 + 7);
}

static void check_gather(struct wf_join *join, const size_t *sizes)
{
    struct wf_err e = {0};
    size_t most = 0, total = 1, wrong = 0, at = 0;
    for (unsigned r = 0; r < ranks; r++)
        most += sizes[r];
    unsigned char *mine = wf_alloc(&e, WF_MEM_META, sizes[rank], 1, "a test");
    unsigned char *all = wf_alloc(&e, WF_MEM_META, most + 1, 1, "a test");
    for (size_t i = 0; i < sizes[rank]; i++)
        mine[i] = byte(rank, i);
    all[most] = 0xa5;
    CHECK(!join->gather(join->arg, &e, mine, sizes[rank], all, most, &total), "%s", e.text);
    CHECK(total == most, "%zu bytes of %zu", total, most);
    for (unsigned r = 0; r < ranks; r++)
        for (size_t i = 0; i < sizes[r]; i++, at++)
            wrong += all[at] != byte(r, i);
    CHECK(!wrong, "%zu of %zu bytes are wrong", wrong, most);
    CHECK(all[most] == 0xa5, "a byte too many");
    wf_free(mine);
    wf_free(all);
}

static void join_all(size_t room)
{
    static const size_t counts[] = {0, 1, 2, 1000, 100001};
    struct wf_join_options o = options();
    size_t sizes[4096];
    o.room_bytes = room;
    struct wf_join *join = open_join(&o);
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        check_sum(join, room ? counts[k] % 5000 : counts[k]);
    for (unsigned k = 0; k < GATHERINGS; k++) {
        for (unsigned r = 0; r < ranks; r++)
            sizes[r] = room ? share(k, r) % 3001 : share(k, r);
        check_gather(join, sizes);
    }
    wf_join_close(join);
}

static volatile sig_atomic_t signals;
static void count_signal(int number_of_it)
{
    signals += number_of_it == SIGUSR1;
}

static void exchange(void)
{
    signal(SIGUSR1, count_signal);
    join_all(0);
    raise(SIGUSR1);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    CHECK(signals == 1 && now.sa_handler == count_signal, "MPI has taken a signal for itself");
    join_all(0); /* the next merge of the same process */
    leave();
}

/* With the least memory: each meeting and each piece fills it. */
static void exchange_in_small_pieces(void)
{
    join_all(1);
    leave();
}

static void exchange_much(void)
{
    struct wf_join_options o = options();
    struct wf_join *join = open_join(&o);
    size_t sizes[4096];
    check_sum(join, 9 * MIB + 5); /* 72 MiB */
    for (unsigned r = 0; r < ranks; r++)
        sizes[r] = (r % 2 ? 3 : 80) * MIB / ranks + r;
    check_gather(join, sizes);
    wf_join_close(join);
    leave();
}

/* ---- what goes wrong ---- */

static void sums_of_different_lengths_are_refused(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join = open_join(&o);
    uint64_t values[2] = {1, 2};
    int status = join->sum(join->arg, &e, values, rank == ranks - 1 ? 1 : 2);
    CHECK(status == WF_BUG && strstr(e.text, "sums"), "status %d: %s", status, e.text);
    wf_join_close(join);
    leave();
}

static void ranks_out_of_step_are_refused(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join = open_join(&o);
    uint64_t values[2] = {1, 2};
    size_t total;
    int status = rank == 0 ? join->sum(join->arg, &e, values, 2)
                           : join->gather(join->arg, &e, values, 16, values, 16, &total);
    CHECK(status == WF_BUG && strstr(e.text, "out of step"), "status %d: %s", status, e.text);
    wf_join_close(join);
    leave();
}

static void more_than_there_is_room_for_is_refused(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join = open_join(&o);
    unsigned char all[4] = {0};
    size_t total;
    int status = join->gather(join->arg, &e, "abc", 3, all, 3 * ranks - 1, &total);
    CHECK(status == WF_BUG && total == 0, "status %d: %s", status, e.text);
    wf_join_close(join);
    leave();
}

static void another_size_is_refused(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join = NULL;
    o.ranks++;
    int status = wf_join_open(&e, &o, &join);
    CHECK(status == WF_MACHINE && !join, "status %d", status);
    CHECK(strstr(e.text, "mpirun") && strstr(e.text, "PMI_SIZE"), "%s", e.text);
}

static int stop_at_once(void *arg, struct wf_err *e)
{
    (void)arg;
    return wf_fail(e, WF_STOPPED, "stopped by a signal");
}

/* Rank 0 comes too late, or not at all; the others wait for it, `status` is what they get. */
static void wait_for_rank_0(int (*check)(void *, struct wf_err *), int want, const char *words)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    uint64_t began, took;
    o.meet_ms = 1000;
    o.check = NULL;
    struct wf_join *join = open_join(&o);
    wf_join_close(join);
    o.check = check;
    struct wf_join *again = rank == 0 ? NULL : join;
    if (rank == 0)
        return;
    began = wf_now_ns();
    int status = wf_join_open(&e, &o, &again);
    took = (wf_now_ns() - began) / 1000000;
    CHECK(status == want && strstr(e.text, words), "status %d: %s", status, e.text);
    CHECK(took < 4000, "it took %" PRIu64 " ms", took);
    wf_err_clear(&e);
    CHECK(wf_join_open(&e, &o, &again) == WF_MACHINE, "a broken transport was used again");
    wf_err_clear(&e);
    CHECK(!wf_join_finish(&e, &o), "%s", e.text);
}

static void a_rank_that_does_not_come_costs_the_limit(void)
{
    wait_for_rank_0(NULL, WF_MACHINE, "no answer");
}

static void a_signal_ends_the_wait(void)
{
    wait_for_rank_0(stop_at_once, WF_STOPPED, "signal");
}

static void without_a_transport_it_is_refused(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join;
    char why[WF_LIBRARY_WHY_BYTES] = "";
    CHECK(!wf_join_is_possible(o.devices, why) && why[0], "it is possible: %s", why);
    int status = wf_join_open(&e, &o, &join);
    CHECK(status == WF_MACHINE && strstr(e.text, "without MPI") && strstr(e.text, "is none"), "%s",
          e.text);
    CHECK(!o.devices || strstr(e.text, "no fake NCCL"), "%s", e.text);
}

/* Without a GPU too (tests/suite/cuda_build.sh): the plugin that WEFT_CUDA_PLUGIN names finds NCCL
 * and all that it calls there. */
static void the_plugin_opens_nccl(void)
{
    struct wf_plugin_err pe = {0};
    struct wf_plugin_comm *comm = NULL;
    wf_plugin_get_fn *get;
    unsigned char id[WF_PLUGIN_ID_BYTES] = {0};
    char why[WF_LIBRARY_WHY_BYTES], name[64];
    *(void **)&get = wf_library_symbol(getenv("WEFT_CUDA_PLUGIN"), WF_PLUGIN_SYMBOL, false, why);
    CHECK(get, "%s", why);
    if (!get)
        return;
    if (get()->comm_library(&pe, name)) {
        printf("%s\n", pe.text);
        exit(77);
    }
    CHECK(!strncmp(name, "NCCL ", 5), "%s", name);
    CHECK(!get()->comm_id(&pe, id) && id[0] + id[1] + id[2], "%s", pe.text);
    if (get()->comm_open(&pe, 0, id, 0, 1, MIB, &comm))
        CHECK(strstr(pe.text, "cuda") && !comm, "%s", pe.text);
    get()->comm_abort(comm);
}

static void a_rank_that_never_starts_costs_the_limit(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    struct wf_join *join;
    if (rank == 0)
        return;
    o.move_ms = 500;
    const char *words = getenv("TEST_DEVICES") && !strcmp(getenv("WEFT_MPI_PLUGIN"), "none")
                            ? "has not left"
                            : "starting MPI";
    int status = wf_join_open(&e, &o, &join);
    CHECK(status == WF_MACHINE && strstr(e.text, words), "status %d: %s", status, e.text);
    wf_err_clear(&e);
    status = wf_join_open(&e, &o, &join);
    CHECK(status == WF_MACHINE && strstr(e.text, "before"), "status %d: %s", status, e.text);
}

/* Run without the launcher's own clean-up, which would end the others first; MPICH's then tells
 * them by a signal. */
static void a_killed_rank_ends_the_wait(void)
{
    struct wf_err e = {0};
    struct wf_join_options o = options();
    o.meet_ms = 3000;
    signal(SIGUSR1, SIG_IGN);
    struct wf_join *join = open_join(&o);
    uint64_t one = 1;
    if (rank == 0)
        raise(SIGKILL);
    int status = join->sum(join->arg, &e, &one, 1);
    CHECK(status == WF_MACHINE, "status %d: %s", status, e.text);
    wf_join_close(join);
    CHECK(!wf_join_finish(&e, &o), "%s", e.text);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"exchange", exchange},
    {"exchange_in_small_pieces", exchange_in_small_pieces},
    {"exchange_much", exchange_much},
    {"sums_of_different_lengths_are_refused", sums_of_different_lengths_are_refused},
    {"ranks_out_of_step_are_refused", ranks_out_of_step_are_refused},
    {"more_than_there_is_room_for_is_refused", more_than_there_is_room_for_is_refused},
    {"another_size_is_refused", another_size_is_refused},
    {"a_rank_that_does_not_come_costs_the_limit", a_rank_that_does_not_come_costs_the_limit},
    {"a_signal_ends_the_wait", a_signal_ends_the_wait},
    {"a_rank_that_never_starts_costs_the_limit", a_rank_that_never_starts_costs_the_limit},
    {"without_a_transport_it_is_refused", without_a_transport_it_is_refused},
    {"the_plugin_opens_nccl", the_plugin_opens_nccl},
    {"a_killed_rank_ends_the_wait", a_killed_rank_ends_the_wait},
};

/* Launchers end all ranks when one exits without taking leave, so each waits until the others have
 * said how it went. */
static int say(const char *folder)
{
    struct wf_err e = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%u", folder, failures ? "bad" : "ok", rank);
    int status = wf_write_small(&e, path, "\n", 1);
    for (unsigned r = 0, naps = 0; r < ranks && naps < 100;) {
        snprintf(path, sizeof path, "%s/ok.%u", folder, r);
        if (wf_exists(path)) {
            r++;
            continue;
        }
        usleep(100000);
        naps++;
    }
    return failures || status;
}

int main(int argc, char **argv)
{
    rank = number((const char *const[]){"PMI_RANK", "OMPI_COMM_WORLD_RANK", NULL});
    ranks = number((const char *const[]){"PMI_SIZE", "OMPI_COMM_WORLD_SIZE", NULL});
    ranks = ranks ? ranks : 1;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        if (argc == 3 && !strcmp(argv[1], cases[k].name)) {
            fake_folder = argv[2];
            cases[k].run();
            return say(argv[2]);
        }
    fprintf(stderr, "%s: no such case\n", argc == 3 ? argv[1] : argv[0]);
    return 2;
}
