/* yaml_text.h - what JSON allows and libyaml does not, put into libyaml's words before it reads. */
#ifndef WF_YAML_TEXT_H
#define WF_YAML_TEXT_H

#include <stddef.h>

/* Rewrites UTF-8 text[0..n) in place and returns its new length, never more than n. Lines stay
 * where they are.
 *
 *   "\uD83D\uDE00"   becomes "\U0001F600": libyaml takes no surrogates, and JSON writers have
 *                    nothing else for what lies beyond U+FFFF; a lone one is left for libyaml to
 *                    refuse
 *   tabs             at the start of a line become spaces if the document begins with '{' or '[',
 *                    as JSON does: indentation has no meaning there */
size_t wf_yaml_text_adapt(char *text, size_t n);

#endif
