/* log.c - messages on standard error. */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum wf_log_level threshold = WF_LOG_INFO;
static void (*hook)(void *);
static void *hook_arg;

void wf_log_set_level(enum wf_log_level level)
{
    threshold = level;
}

static unsigned own_rank;

void wf_log_set_rank(unsigned rank)
{
    own_rank = rank;
}

unsigned wf_log_rank(void)
{
    return own_rank;
}

void wf_log_set_hook(void (*before)(void *), void *arg)
{
    pthread_mutex_lock(&lock);
    hook = before;
    hook_arg = arg;
    pthread_mutex_unlock(&lock);
}

void wf_log(enum wf_log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (level > threshold)
        return;
    char text[4608];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    if (hook)
        hook(hook_arg);
    fprintf(stderr, "weft: %s: %s\n", names[level], text);
    pthread_mutex_unlock(&lock);
}
