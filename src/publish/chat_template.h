/* chat_template.h - the chat template of the result, where the recipe asks for one. */
#ifndef WF_CHAT_TEMPLATE_H
#define WF_CHAT_TEMPLATE_H

#include "merge.h"

/* Puts chat_template.jinja on the setup's list of side texts, and with it every other file that
 * holds a template, so that all agree; additional_chat_templates/ goes. With models opened and side
 * files listed; other texts of tokenizer_config.json must be on the list before. A model's file
 * that cannot be read is WF_INPUT. */
int wf_chat_template_put(struct wf_err *e, struct wf_setup *s);

#endif
