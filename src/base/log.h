/* log.h - messages to people, on standard error, one line each.
 *
 * "weft: error: ...", "weft: warning: ...", "weft: info: ...". The level is process-wide and set
 * once at start. A progress bar on the terminal registers a hook so that a message never lands in
 * the middle of it.
 */
#ifndef WF_LOG_H
#define WF_LOG_H

enum wf_log_level { WF_LOG_ERROR, WF_LOG_WARNING, WF_LOG_INFO, WF_LOG_DEBUG };

void wf_log_set_level(enum wf_log_level level);
/* Called (under the log's lock) before each message; NULL takes it away. */
void wf_log_set_hook(void (*before)(void *), void *arg);

/* The number of this process among those that make one merge, for events and messages: 0 unless it
 * was set, once at start. */
void wf_log_set_rank(unsigned rank);
unsigned wf_log_rank(void);

void wf_log(enum wf_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
