/* sentencepiece.h - the pieces of a SentencePiece model (tokenizer.model), from its protobuf.
 *
 * ModelProto: repeated field 1, each {1: text, 2: score, 3: type}; the id of a piece is its
 * position. Everything else is stepped over.
 */
#ifndef WF_SENTENCEPIECE_H
#define WF_SENTENCEPIECE_H

#include "vocab.h"

/* Adds the pieces of data[0..n). Damage is WF_INPUT, naming the byte. */
int wf_sentencepiece_scan(struct wf_err *e, const char *path, const char *data, size_t n,
                          struct wf_vocab *v);

#endif
