/* manifest.h - reading weft_manifest.json: which files a merge wrote, and their checksums.
 *
 *   {"recipe": TEXT, "seed": N, "options": {"plan": HEX, "plan_parts": [HEX ..], ..},
 *    "version": TEXT, "inputs": [..],
 *    "tensors": {NAME: {"file": TEXT, "dtype": TEXT, "shape": [..], "action": TEXT}},
 *    "files": [{"name": TEXT, "bytes": N, CHECKSUM}]}
 *
 *   CHECKSUM   "xxh3_128": HEX, "block_bytes": N, "blocks": [HEX ..]
 *              "sha256": HEX
 *              nothing
 *
 * A block's hash is XXH3-128 of `block_bytes` bytes of the file, counted from its start, header
 * included; the last block is what remains. "xxh3_128" is XXH3-128 of all block hashes, 16 bytes
 * each, in order. The reader trusts nothing: types, names and counts are checked before they are
 * used.
 */
#ifndef WF_MANIFEST_H
#define WF_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "json.h"

#define WF_MANIFEST_NAME "weft_manifest.json"
#define WF_MANIFEST_BYTES_MAX ((size_t)128 << 20)

struct wf_manifest_file {
    const char *name; /* relative; stays below the folder */
    uint64_t bytes;
    const char *sha256; /* 64 hex digits, or NULL */
    uint64_t block_bytes;
    struct wf_hash128 *blocks; /* n_blocks of them, 0 without xxh3 */
    uint64_t n_blocks;
};

struct wf_manifest {
    struct wf_manifest_file *files; /* sorted by name, each once */
    size_t n_files;
    const struct wf_json *tensors; /* the object */
    struct wf_hash128 plan;        /* of the merge that wrote it, whole and by part (plan.h) */
    struct wf_hash128 *plan_parts;
    size_t n_plan_parts; /* 0: "options" names no plan */
};

/* Parses text[0..n); `path` is for messages. Anything wrong is WF_INPUT. What it returns lives in
 * `a`. A step of wf_manifest_read, public for tests and fuzzing. */
int wf_manifest_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                      size_t n, struct wf_manifest *out);

/* Reads and parses the file at `path`. */
int wf_manifest_read(struct wf_err *e, struct wf_arena *a, const char *path,
                     struct wf_manifest *out);

#endif
