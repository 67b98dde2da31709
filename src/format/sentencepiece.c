/* sentencepiece.c - protobuf, as far as a list of pieces needs it. */
#include "sentencepiece.h"

#include <inttypes.h>
#include <string.h>

#include "../base/str.h"

enum wire { VARINT = 0, EIGHT_BYTES = 1, COUNTED = 2, FOUR_BYTES = 5 };

#define PIECE_FIELD 1
#define TEXT_FIELD 1

struct message {
    const unsigned char *data;
    size_t at, end;
};

/* One field: its number, and for COUNTED its bytes. */
struct field {
    uint64_t number;
    size_t begin, end;
};

static bool varint(struct message *m, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        unsigned char byte = m->data[m->at++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool next_field(struct message *m, struct field *f)
{
    uint64_t tag, bytes = 0;
    if (!varint(m, &tag))
        return false;
    f->number = tag >> 3;
    switch (tag & 7) {
    case VARINT: {
        uint64_t value;
        f->begin = f->end = m->at;
        return varint(m, &value);
    }
    case EIGHT_BYTES:
    case FOUR_BYTES:
        bytes = (tag & 7) == EIGHT_BYTES ? 8 : 4;
        break;
    case COUNTED:
        if (!varint(m, &bytes))
            return false;
        break;
    default:
        return false;
    }
    if (bytes > m->end - m->at)
        return false;
    f->begin = m->at;
    f->end = m->at += bytes;
    return f->number != 0;
}

static int damaged(struct wf_err *e, const char *path, size_t at)
{
    return wf_fail(e, WF_INPUT,
                   "%s: not a SentencePiece model at byte %zu; restore the file from its source",
                   path, at);
}

static int add_piece(struct wf_err *e, const char *path, const unsigned char *data,
                     const struct field *piece, uint32_t id, struct wf_vocab *v)
{
    struct message m = {data, piece->begin, piece->end};
    struct field f, text = {0};
    char buf[WF_TOKEN_TEXT_MAX];
    while (m.at < m.end) {
        if (!next_field(&m, &f))
            return damaged(e, path, m.at);
        if (f.number == TEXT_FIELD)
            text = f;
    }
    const char *begin = (const char *)data + text.begin;
    size_t n = text.end - text.begin;
    if (!wf_utf8_valid(begin, n, NULL))
        return damaged(e, path, text.begin);
    if (wf_vocab_find(v, begin, n))
        return wf_fail(e, WF_INPUT,
                       "%s: piece '%s' stands twice in the vocabulary; restore the file from its "
                       "source",
                       path, wf_token_text(begin, n, buf));
    return wf_vocab_add(e, v, begin, n, id, 0, NULL);
}

int wf_sentencepiece_scan(struct wf_err *e, const char *path, const char *data, size_t n,
                          struct wf_vocab *v)
{
    struct message m = {(const unsigned char *)data, 0, n};
    struct field f;
    uint32_t id = 0;
    int status = WF_OK;
    while (!status && m.at < m.end) {
        if (!next_field(&m, &f))
            return damaged(e, path, m.at);
        if (f.number == PIECE_FIELD)
            status = add_piece(e, path, m.data, &f, id++, v);
    }
    return status;
}
