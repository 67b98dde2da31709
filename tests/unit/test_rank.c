/* test_rank.c - which rank a process is, by what launchers say; records of ranks; ranks that meet,
 * in one process each, in a folder of their own. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/base/file.h"
#include "../../src/base/str.h"
#include "../../src/dist/rank.h"
#include "../../src/dist/record.h"
#include "../../src/dist/session.h"
#include "model_tree.h"

static const char *const variables[] = {"WEFT_RANK",
                                        "WEFT_RANKS",
                                        "WEFT_LOCAL_RANK",
                                        "WEFT_LOCAL_RANKS",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "MPI_LOCALRANKID",
                                        "MPI_LOCALNRANKS",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        "MV2_COMM_WORLD_RANK",
                                        "MV2_COMM_WORLD_SIZE",
                                        "FLUX_TASK_RANK",
                                        "FLUX_JOB_SIZE",
                                        "SLURM_PROCID",
                                        "SLURM_NTASKS",
                                        "SLURM_STEP_ID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_LOCALID",
                                        "SLURM_NODEID",
                                        "SLURM_STEP_TASKS_PER_NODE",
                                        "SLURM_GPUS_PER_TASK",
                                        "SLURM_GPUS_ON_NODE",
                                        "CUDA_VISIBLE_DEVICES",
                                        "SLURMD_NODENAME"};

/* The environment holds `said`, "NAME=VALUE ...", and nothing else of a launcher. */
static void set_environment(const char *said)
{
    char text[1024], *rest = NULL;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    snprintf(text, sizeof text, "%s", said);
    for (char *one = strtok_r(text, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(one, '=');
        *value = 0;
        setenv(one, value + 1, 1);
    }
}

static struct wf_rank found(const char *environment)
{
    struct wf_err e = {0};
    struct wf_rank r;
    set_environment(environment);
    assert_int_equal(wf_rank_find(&e, 0, &r), WF_OK);
    return r;
}

static void expect_rank(const char *environment, unsigned rank, unsigned size, unsigned local,
                        unsigned local_size)
{
    struct wf_rank r = found(environment);
    if (r.rank != rank || r.size != size || r.local != local || r.local_size != local_size)
        fail_msg("%s: %u of %u, %u of %u here", environment, r.rank, r.size, r.local, r.local_size);
}

static void launchers_say_who_one_is(void **state)
{
    (void)state;
    expect_rank("", 0, 1, 0, 1);
    expect_rank("PMI_RANK=3 PMI_SIZE=8 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2", 3, 8, 1, 2);
    expect_rank("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 "
                "OMPI_COMM_WORLD_LOCAL_SIZE=2",
                0, 2, 0, 2);
    expect_rank("SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=4 SLURM_LOCALID=0 "
                "SLURM_NODEID=1 SLURM_STEP_TASKS_PER_NODE=2(x2)",
                2, 4, 0, 2);
    expect_rank("WEFT_RANK=1 WEFT_RANKS=2", 1, 2, 0, 1);
    expect_rank("FLUX_TASK_RANK=1 FLUX_JOB_SIZE=2", 1, 2, 0, 1);
}

static void a_batch_script_outside_a_step_is_one_process(void **state)
{
    (void)state;
    expect_rank("SLURM_PROCID=0 SLURM_NTASKS=4", 0, 1, 0, 1);
    expect_rank("SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4", 0, 1, 0, 1);
}

/* mpirun in a Slurm step has started the ranks; srun --mpi=pmi2 leaves the rest to the step. */
static void who_was_started_by_another_is_asked_first(void **state)
{
    (void)state;
    expect_rank("SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 OMPI_COMM_WORLD_RANK=5 "
                "OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=4",
                5, 8, 1, 4);
    expect_rank("PMI_RANK=2 PMI_SIZE=4 SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=4 "
                "SLURM_LOCALID=1 SLURM_NODEID=0 SLURM_STEP_TASKS_PER_NODE=3,1",
                2, 4, 1, 3);
    expect_rank("PMI_RANK=2 PMI_SIZE=4 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1", 2, 4,
                0, 1);
}

static void nonsense_of_a_launcher_is_refused(void **state)
{
    static const char *const wrong[] = {"PMI_RANK=x PMI_SIZE=2", "PMI_RANK=0 PMI_SIZE=-1",
                                        "PMI_RANK=2 PMI_SIZE=2", "PMI_RANK=0 PMI_SIZE=99999999"};
    struct wf_rank r;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wf_err e = {0};
        set_environment(wrong[i]);
        assert_int_equal(wf_rank_find(&e, 0, &r), WF_USAGE);
        assert_non_null(strstr(e.text, "--ranks 1"));
        wf_err_clear(&e);
        assert_int_equal(wf_rank_find(&e, 1, &r), WF_OK);
        assert_int_equal(r.size, 1);
    }
}

static void a_number_of_ranks_that_is_asked_for_is_checked(void **state)
{
    struct wf_err e = {0};
    struct wf_rank r;
    (void)state;
    set_environment("PMI_RANK=1 PMI_SIZE=4");
    assert_int_equal(wf_rank_find(&e, 4, &r), WF_OK);
    assert_int_equal(wf_rank_find(&e, 8, &r), WF_USAGE);
    wf_err_clear(&e);
    set_environment("");
    assert_int_equal(wf_rank_find(&e, 2, &r), WF_USAGE);
    assert_non_null(strstr(e.text, "no launcher"));
}

static void tasks_of_nodes_are_read_in_both_spellings(void **state)
{
    (void)state;
    assert_int_equal(wf_rank_tasks_of_node("3,1", 0), 3);
    assert_int_equal(wf_rank_tasks_of_node("3,1", 1), 1);
    assert_int_equal(wf_rank_tasks_of_node("2(x3),1", 2), 2);
    assert_int_equal(wf_rank_tasks_of_node("2(x3),1", 3), 1);
    assert_int_equal(wf_rank_tasks_of_node("2(x3),1", 4), 0);
    assert_int_equal(wf_rank_tasks_of_node("", 0), 0);
    assert_int_equal(wf_rank_tasks_of_node("2(x", 0), 0);
    assert_int_equal(wf_rank_tasks_of_node("x", 0), 0);
    assert_int_equal(wf_rank_tasks_of_node("99999999999999999999", 0), 0);
}

static void gpus_that_slurm_deals_out_belong_to_the_rank(void **state)
{
    (void)state;
    assert_false(found("PMI_RANK=0 PMI_SIZE=2 CUDA_VISIBLE_DEVICES=0,1").owns_devices);
    assert_false(found("CUDA_VISIBLE_DEVICES=0,1 SLURM_GPUS_ON_NODE=2").owns_devices);
    assert_true(found("CUDA_VISIBLE_DEVICES=1 SLURM_GPUS_ON_NODE=2").owns_devices);
    assert_true(found("SLURM_GPUS_PER_TASK=1").owns_devices);
}

/* ---- records ---- */

static struct wf_record a_record(void)
{
    struct wf_record r = {.self = 0xfedcba9876543210u,
                          .run = 7,
                          .host = "node 1",
                          .state = WF_RANK_WORKING,
                          .phase = 2,
                          .beat = 99,
                          .read = 1ull << 60,
                          .written = 3,
                          .status = WF_MACHINE,
                          .message = "rank 3 on node 1: disk full: end of story"};
    r.plan = wf_xxh128("plan", 4);
    r.parts[1] = wf_xxh128("part", 4);
    return r;
}

static void a_record_is_read_as_it_was_written(void **state)
{
    struct tree *t = *state;
    struct wf_record r = a_record(), got = {0};
    const char *path = tree_path(t, "record");
    bool missing = false;
    assert_int_equal(wf_record_write(&t->err, path, false, &r, &missing), WF_MACHINE);
    assert_true(missing);
    wf_err_clear(&t->err);
    assert_worked(t, wf_record_write(&t->err, path, true, &r, NULL));
    assert_true(wf_record_read(path, &got));
    assert_memory_equal(&got, &r, sizeof r);
    r.message[0] = 0; /* shorter than what is there */
    assert_worked(t, wf_record_write(&t->err, path, false, &r, NULL));
    assert_true(wf_record_read(path, &got));
    assert_string_equal(got.message, "");
}

static void a_record_that_is_not_whole_is_not_believed(void **state)
{
    struct wf_record r = a_record(), got;
    struct wf_str s = {0};
    (void)state;
    wf_record_print(&r, &s);
    char *text = s.text;
    assert_true(wf_record_parse(text, &got));
    for (size_t i = 0; i + 1 < s.n; i++) {
        char was = text[i];
        text[i] = 0;
        assert_false(wf_record_parse(text, &got));
        text[i] = (char)(was ^ 1);
        assert_false(wf_record_parse(text, &got));
        text[i] = was;
    }
    wf_str_free(&s);
}

/* ---- sessions: each rank is a process ---- */

struct player {
    const char *partial;
    struct wf_rank rank;
    char plan; /* ranks with the same letter have the same */
    int stop;  /* raised before it meets */
    int fails; /* with this status, after the meeting */
};

static int play(const struct player *p)
{
    struct wf_err e = {0};
    struct wf_session *s = NULL;
    struct wf_session_part part = {"the recipe", wf_xxh128(&p->plan, 1)};
    volatile int stop = p->stop;
    struct wf_session_options o = {.rank = &p->rank,
                                   .partial = p->partial,
                                   .plan = wf_xxh128(&p->plan, 1),
                                   .parts = &part,
                                   .n_parts = 1,
                                   .stop = &stop};
    uint64_t read = 0, written = 0;
    int status = wf_session_open(&e, &o, &s);
    if (!status)
        status = wf_session_meet(&e, s);
    wf_session_count(s, 10, p->rank.rank);
    if (!status && p->fails)
        status = wf_fail(&e, (enum wf_status)p->fails, "cannot go on");
    if (!status)
        status = wf_session_barrier(&e, s);
    wf_session_sums(s, &read, &written);
    if (!status && p->rank.rank == 0 &&
        (read != 10 * p->rank.size || written != p->rank.size * (p->rank.size - 1) / 2))
        status = 99;
    if (!status)
        status = wf_session_dissolve(&e, s);
    status = wf_session_verdict(&e, s, status);
    wf_session_close(s, &e);
    if (status && status != WF_STOPPED && status != 99 && !strstr(e.text, "rank "))
        status = 98;
    return status;
}

/* Starts `n` ranks and puts their exit statuses into status[]. */
static void play_all(const struct player *players, unsigned n, int *status)
{
    pid_t pids[8];
    for (unsigned r = 0; r < n; r++) {
        pids[r] = fork();
        if (pids[r] == 0)
            _exit(play(&players[r]));
    }
    for (unsigned r = 0; r < n; r++) {
        waitpid(pids[r], &status[r], 0);
        status[r] = WIFEXITED(status[r]) ? WEXITSTATUS(status[r]) : 97;
    }
}

static void make_players(struct tree *t, struct player *players, unsigned n)
{
    const char *partial = tree_folder(t, "out.partial");
    set_environment("");
    for (unsigned r = 0; r < n; r++)
        players[r] = (struct player){
            .partial = partial, .rank = {.rank = r, .size = n, .local_size = 1}, .plan = 'a'};
}

static void ranks_meet_work_and_leave(void **state)
{
    struct tree *t = *state;
    struct player players[5];
    int status[5];
    make_players(t, players, 5);
    for (int again = 0; again < 3; again++) { /* what was left by the first is no harm */
        play_all(players, 5, status);
        for (int r = 0; r < 5; r++)
            assert_int_equal(status[r], 0);
    }
    assert_true(wf_folder_is_empty(players[0].partial));
}

static void ranks_with_other_plans_are_refused(void **state)
{
    struct tree *t = *state;
    struct player players[3];
    int status[3];
    make_players(t, players, 3);
    players[2].plan = 'b';
    play_all(players, 3, status);
    for (int r = 0; r < 3; r++)
        assert_int_equal(status[r], WF_USAGE);
}

static void a_rank_that_fails_ends_all_with_its_status(void **state)
{
    struct tree *t = *state;
    struct player players[4];
    int status[4];
    for (unsigned who = 0; who < 4; who += 3) {
        make_players(t, players, 4);
        players[who].fails = WF_INPUT;
        play_all(players, 4, status);
        for (int r = 0; r < 4; r++)
            assert_int_equal(status[r], WF_INPUT);
    }
}

static void a_rank_that_is_stopped_stops_all(void **state)
{
    struct tree *t = *state;
    struct player players[3];
    int status[3];
    make_players(t, players, 3);
    for (int r = 0; r < 3; r++) /* as by a scheduler, which tells each */
        players[r].stop = 1;
    play_all(players, 3, status);
    for (int r = 0; r < 3; r++)
        assert_int_equal(status[r], WF_STOPPED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launchers_say_who_one_is),
        cmocka_unit_test(a_batch_script_outside_a_step_is_one_process),
        cmocka_unit_test(who_was_started_by_another_is_asked_first),
        cmocka_unit_test(nonsense_of_a_launcher_is_refused),
        cmocka_unit_test(a_number_of_ranks_that_is_asked_for_is_checked),
        cmocka_unit_test(tasks_of_nodes_are_read_in_both_spellings),
        cmocka_unit_test(gpus_that_slurm_deals_out_belong_to_the_rank),
        TEST(a_record_is_read_as_it_was_written),
        cmocka_unit_test(a_record_that_is_not_whole_is_not_believed),
        TEST(ranks_meet_work_and_leave),
        TEST(ranks_with_other_plans_are_refused),
        TEST(a_rank_that_fails_ends_all_with_its_status),
        TEST(a_rank_that_is_stopped_stops_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
