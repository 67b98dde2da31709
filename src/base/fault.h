/* fault.h - make the n-th allocation, read, write or sync fail, for tests.
 *
 * The environment variable WEFT_FAULT holds "KIND:N[:always]" with KIND one of alloc, open, read,
 * write, sync, rename; the N-th call of that kind (counted from 1) fails, with `always` every later
 * one too. A second form, "KIND:N:kill", raises SIGKILL there, to test resume. The variable is read
 * only in builds with WF_FAULTS defined; elsewhere wf_fault() is a constant 0.
 */
#ifndef WF_FAULT_H
#define WF_FAULT_H

enum wf_fault_kind {
    WF_FAULT_ALLOC,
    WF_FAULT_OPEN,
    WF_FAULT_READ,
    WF_FAULT_WRITE,
    WF_FAULT_SYNC,
    WF_FAULT_RENAME,
    WF_FAULT_KINDS
};

#ifdef WF_FAULTS
int wf_fault(enum wf_fault_kind kind); /* 1: pretend this call failed */
#else
static inline int wf_fault(enum wf_fault_kind kind)
{
    (void)kind;
    return 0;
}
#endif

#endif
