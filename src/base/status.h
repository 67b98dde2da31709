/* status.h - how every module reports failure.
 *
 * Every fallible function takes a `struct wf_err *` first and returns a status, 0 for success.
 * The place that knows the detail (file, tensor, byte offset, system call) calls wf_fail() once;
 * everyone above forwards the number. The first failure wins: later ones, from threads that are
 * winding down, are dropped. The text is one line without prefix or newline; it is the sentence a
 * person reads, so it names the place and says what to do.
 */
#ifndef WF_STATUS_H
#define WF_STATUS_H

#include <stdatomic.h>
#include <stddef.h>

/* The numbers are the program's exit codes (include/weft.h, weft --help). */
enum wf_status {
    WF_OK = 0,
    WF_NO = 1,       /* the answer is no (diff, verify) */
    WF_USAGE = 2,    /* wrong command line or recipe; models that do not fit together */
    WF_INPUT = 3,    /* a damaged file, NaN or infinity in a tensor */
    WF_MACHINE = 4,  /* memory, disk, device */
    WF_BUG = 5,      /* our mistake */
    WF_STOPPED = 75, /* a signal; the work is saved */
};

#define WF_ERR_TEXT_MAX 4096

/* One error slot; zero-initialise it ({0}). Safe to share among threads. */
struct wf_err {
    atomic_int claimed;         /* 1 once somebody writes */
    atomic_int status;          /* set after the text is complete */
    char text[WF_ERR_TEXT_MAX]; /* one line, control characters replaced by '?' */
};

/* Records the failure if it is the first; returns `status`. Never returns WF_OK. */
int wf_fail(struct wf_err *e, enum wf_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As wf_fail, with ": <text of errno value number>" appended. */
int wf_fail_errno(struct wf_err *e, enum wf_status status, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The status recorded so far, WF_OK if none. */
int wf_err_status(struct wf_err *e);

/* Empties the slot, for a caller that has handled the failure and goes on. */
void wf_err_clear(struct wf_err *e);

#endif
