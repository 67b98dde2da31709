/* hash.h - checksums: XXH3-128 (libxxhash) for speed, SHA-256 (libcrypto) for signatures. */
#ifndef WF_HASH_H
#define WF_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct wf_hash128 {
    uint8_t bytes[16]; /* canonical (big-endian) form, as xxhsum -H2 prints it */
};

struct wf_hash128 wf_xxh128(const void *data, size_t n);
int wf_hash128_equal(const struct wf_hash128 *a, const struct wf_hash128 *b);
char *wf_hash128_hex(const struct wf_hash128 *h, char buf[33]);
int wf_hash128_parse(const char *hex, struct wf_hash128 *out); /* 1 on success, 0 otherwise */

/* Streaming form. The state is opaque and owned by the caller. */
struct wf_xxh;
struct wf_xxh *wf_xxh_create(struct wf_err *e);
void wf_xxh_reset(struct wf_xxh *s);
void wf_xxh_add(struct wf_xxh *s, const void *data, size_t n);
struct wf_hash128 wf_xxh_digest(const struct wf_xxh *s);
void wf_xxh_destroy(struct wf_xxh *s);

struct wf_sha256;
struct wf_sha256 *wf_sha256_create(struct wf_err *e);
void wf_sha256_add(struct wf_sha256 *s, const void *data, size_t n);
void wf_sha256_hex(struct wf_sha256 *s, char buf[65]); /* finishes the state */
void wf_sha256_destroy(struct wf_sha256 *s);

#endif
