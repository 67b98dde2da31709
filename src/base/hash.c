/* hash.c - libxxhash and libcrypto behind weft's names. */
#include "hash.h"

#include <openssl/evp.h>
#include <string.h>
#include <xxhash.h>

#include "mem.h"

static struct wf_hash128 canonical(XXH128_hash_t h)
{
    XXH128_canonical_t c;
    struct wf_hash128 out;
    XXH128_canonicalFromHash(&c, h);
    memcpy(out.bytes, c.digest, sizeof out.bytes);
    return out;
}

struct wf_hash128 wf_xxh128(const void *data, size_t n)
{
    return canonical(XXH3_128bits(data, n));
}

int wf_hash128_equal(const struct wf_hash128 *a, const struct wf_hash128 *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static void hex(const uint8_t *bytes, size_t n, char *buf)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        buf[2 * i] = digits[bytes[i] >> 4];
        buf[2 * i + 1] = digits[bytes[i] & 15];
    }
    buf[2 * n] = 0;
}

char *wf_hash128_hex(const struct wf_hash128 *h, char buf[33])
{
    hex(h->bytes, sizeof h->bytes, buf);
    return buf;
}

int wf_hash128_parse(const char *text, struct wf_hash128 *out)
{
    for (int i = 0; i < 32; i++) {
        char c = text[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            return 0;
        out->bytes[i / 2] = (uint8_t)(i % 2 ? out->bytes[i / 2] << 4 | v : v);
    }
    return text[32] == 0;
}

struct wf_xxh *wf_xxh_create(struct wf_err *e)
{
    XXH3_state_t *s = XXH3_createState();
    if (!s) {
        wf_fail(e, WF_MACHINE, "out of memory for a checksum");
        return NULL;
    }
    XXH3_128bits_reset(s);
    return (struct wf_xxh *)s;
}

void wf_xxh_reset(struct wf_xxh *s)
{
    XXH3_128bits_reset((XXH3_state_t *)s);
}

void wf_xxh_add(struct wf_xxh *s, const void *data, size_t n)
{
    XXH3_128bits_update((XXH3_state_t *)s, data, n);
}

struct wf_hash128 wf_xxh_digest(const struct wf_xxh *s)
{
    return canonical(XXH3_128bits_digest((const XXH3_state_t *)s));
}

void wf_xxh_destroy(struct wf_xxh *s)
{
    XXH3_freeState((XXH3_state_t *)s);
}

struct wf_sha256 *wf_sha256_create(struct wf_err *e)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c || !EVP_DigestInit_ex(c, EVP_sha256(), NULL)) {
        EVP_MD_CTX_free(c);
        wf_fail(e, WF_MACHINE, "libcrypto offers no SHA-256 here; use --manifest xxh3");
        return NULL;
    }
    return (struct wf_sha256 *)c;
}

void wf_sha256_add(struct wf_sha256 *s, const void *data, size_t n)
{
    EVP_DigestUpdate((EVP_MD_CTX *)s, data, n);
}

void wf_sha256_hex(struct wf_sha256 *s, char buf[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex((EVP_MD_CTX *)s, digest, &n);
    hex(digest, 32, buf);
}

void wf_sha256_destroy(struct wf_sha256 *s)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)s);
}
