/* chat_format.h - Jinja templates of well-known chat formats, by name. */
#ifndef WF_CHAT_FORMAT_H
#define WF_CHAT_FORMAT_H

/* The template, NULL if no format has that name. */
const char *wf_chat_format(const char *name);

/* What 'chat_template' may name: "auto", and every format; ends with NULL. */
const char *const *wf_chat_format_names(void);

#endif
