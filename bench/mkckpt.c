/* mkckpt.c - makes synthetic checkpoints of any size, for benchmarks and tests.
 *
 * Every value is a pure function of (seed, tensor name, element index), so any piece of any
 * tensor can be made on its own, by any number of threads, in bounded memory. A fine-tune
 * is a base (--base-seed) plus a small difference (--seed, --delta). Needs nothing but libc, and
 * shares no code with weft: it is a second, independent writer of the format.
 *
 *     mkckpt --out base  --bytes 2GB --seed 1 --config
 *     mkckpt --out tuned --bytes 2GB --seed 2 --base-seed 1 --delta 0.05 --config
 *     mkckpt --out huge  --like llama-405b --headers-only
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES                                                                                \
    ((size_t)4 << 20) /* one write; one per thread is all the data held in memory                  \
                       */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("default", "avx2")))
#else
#define CLONES
#endif

#define STDDEV 0.02f /* of the weights; what trained models have */

static const char usage[] =
    "usage: mkckpt --out DIR [options]\n"
    "  --bytes SIZE           a Llama-like model of about SIZE tensor bytes\n"
    "  --layers N --hidden N --vocab N   ... or of this shape; of its layers:\n"
    "  --inner N --kv N       rows of the MLP and of the key's and the value's projection\n"
    "  --experts N            N MLPs of --inner rows in each layer, with a router\n"
    "  --like llama-405b|moe-1t          the shape of a model of this size\n"
    "  --tensors N            N small tensors instead (with --bytes: that much together)\n"
    "  --largest SIZE         the embedding alone is larger than SIZE\n"
    "  --dtype bf16|f16|f32|f64[,...]    a list is dealt to the tensors in turn (bf16)\n"
    "  --seed N               (0)\n"
    "  --base-seed N --delta X           values of that seed, plus X standard deviations of "
    "--seed\n"
    "  --shard-size SIZE      tensor bytes per file (5GB)\n"
    "  --nan TENSOR:INDEX     plants a NaN\n"
    "  --config               also config.json and tokenizer files\n"
    "  --headers-only         data are holes in the file (zeros), for planning without disk\n"
    "  --threads N            (all CPUs)\n";

enum dtype { BF16, F16, F32, F64 };
static const char *const dtype_option[] = {"bf16", "f16", "f32", "f64"};
static const char *const dtype_name[] = {"BF16", "F16", "F32", "F64"};
static const unsigned dtype_bytes[] = {2, 2, 4, 8};
/* The format's canonical order puts wider types first. */
static const unsigned dtype_rank[] = {14, 13, 17, 19};

struct tensor {
    char name[96];
    uint64_t shape[2]; /* the second is 0 for a vector */
    uint64_t count, bytes;
    uint64_t offset; /* from the start of the file */
    enum dtype dtype;
    bool is_norm; /* values around 1 */
    uint32_t shard;
};

struct shard {
    char path[4096];
    uint64_t data_bytes;
    size_t first, n; /* tensors, in file order */
    int fd;
};

struct options {
    const char *out, *nan, *like;
    uint64_t bytes, layers, hidden, vocab, inner, kv, experts;
    uint64_t tensors, largest, seed, base_seed, shard_bytes, threads;
    double delta;
    enum dtype dtypes[16];
    size_t n_dtypes;
    bool has_base, config, headers_only;
};

static struct options opt = {.shard_bytes = 5000000000ull, .dtypes = {BF16}, .n_dtypes = 1};
static struct tensor *tensors;
static size_t n_tensors, tensors_room;
static struct shard *shards;
static size_t n_shards;

static void die(const char *format, ...)
{
    va_list ap;
    fputs("mkckpt: error: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

static void *grow(void *old, size_t bytes)
{
    void *p = realloc(old, bytes);
    if (!p)
        die("out of memory (%zu bytes)", bytes);
    return p;
}

/* ---- values ---- */

static uint64_t splitmix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static uint64_t stream_key(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325ull ^ splitmix(seed + 1);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
    return splitmix(h);
}

struct key { /* of one tensor's values, within one range of 2^32 elements */
    uint32_t a, b;
};

static struct key range_key(uint64_t seed, const char *name, uint64_t first)
{
    uint64_t h = splitmix(stream_key(seed, name) + (first >> 32));
    return (struct key){(uint32_t)h, (uint32_t)(h >> 32)};
}

/* Close to normal with mean 0 and variance 1: the sum of four 16-bit draws. Integers of 32 bits (so
 * that compilers vectorise it) up to the one multiplication: the same on every machine. */
static inline float draw(struct key k, uint32_t index)
{
    uint32_t x = index + k.a;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15) ^ k.b) * 0x846ca68bu;
    x ^= x >> 16;
    uint32_t y = (x + k.b) * 0x9e3779b1u;
    y ^= y >> 15;
    int32_t sum = (int32_t)((x & 0xffff) + (x >> 16) + (y & 0xffff) + (y >> 16));
    return (float)(sum - 131070) * (1.0f / 37837.0f);
}

static inline uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* Finite values below 65504 only, which is all that draw() makes. */
static inline uint16_t to_f16(float x)
{
    uint32_t u, sign;
    memcpy(&u, &x, 4);
    sign = (u >> 16) & 0x8000;
    u &= 0x7fffffff;
    if (u >= 0x38800000) /* normal in F16: drop 13 bits, to nearest even */
        return (uint16_t)(sign | ((u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13));
    float magnitude; /* subnormal: the adder does the rounding, at units of 2^-24 */
    memcpy(&magnitude, &u, 4);
    magnitude += 0.5f;
    memcpy(&u, &magnitude, 4);
    return (uint16_t)(sign | (u - 0x3f000000));
}

struct recipe { /* value(i) = center + scale * draw(base, i) + delta * draw(own, i) */
    struct key base, own;
    float center, scale, delta;
};

static inline float value(const struct recipe *r, uint32_t i)
{
    float x = r->center + r->scale * draw(r->base, i);
    return x + r->delta * draw(r->own, i);
}

/* Elements [first, first + n) of a tensor, encoded; the range does not cross a multiple of 2^32. */
CLONES static void fill(const struct tensor *t, uint64_t first, size_t n, void *out)
{
    const struct recipe r = {
        .base = range_key(opt.has_base ? opt.base_seed : opt.seed, t->name, first),
        .own = range_key(opt.seed, t->name, first),
        .center = t->is_norm ? 1.0f : 0.0f,
        .scale = STDDEV,
        .delta = opt.has_base ? (float)opt.delta * STDDEV : 0.0f,
    };
    const uint32_t at = (uint32_t)first;
    uint16_t *half = out;
    float *single = out;
    double *wide = out;
    switch (t->dtype) {
    case BF16:
        for (size_t i = 0; i < n; i++)
            half[i] = to_bf16(value(&r, at + (uint32_t)i));
        break;
    case F16:
        for (size_t i = 0; i < n; i++)
            half[i] = to_f16(value(&r, at + (uint32_t)i));
        break;
    case F32:
        for (size_t i = 0; i < n; i++)
            single[i] = value(&r, at + (uint32_t)i);
        break;
    case F64: /* the lower bits are not all zero, so that narrowing is visible */
        for (size_t i = 0; i < n; i++)
            wide[i] = (double)value(&r, at + (uint32_t)i) * (1.0 + 0x1p-40);
        break;
    }
}

/* ---- layout ---- */

static void add(bool is_norm, uint64_t rows, uint64_t columns, const char *format, ...)
{
    if (n_tensors == tensors_room) {
        tensors_room = tensors_room ? 2 * tensors_room : 256;
        tensors = grow(tensors, tensors_room * sizeof *tensors);
    }
    struct tensor *t = &tensors[n_tensors];
    *t = (struct tensor){.shape = {rows, columns}, .is_norm = is_norm};
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->name, sizeof t->name, format, ap);
    va_end(ap);
    t->dtype = opt.dtypes[n_tensors % opt.n_dtypes];
    t->count = columns ? rows * columns : rows;
    t->bytes = t->count * dtype_bytes[t->dtype];
    n_tensors++;
}

static void add_mlp(const char *prefix, uint64_t hidden, uint64_t inner)
{
    add(false, inner, hidden, "%s.gate_proj.weight", prefix);
    add(false, inner, hidden, "%s.up_proj.weight", prefix);
    add(false, hidden, inner, "%s.down_proj.weight", prefix);
}

static void add_layer(uint64_t layer, uint64_t hidden, uint64_t inner, uint64_t kv)
{
    static const char prefix[] = "model.layers.";
    unsigned long l = (unsigned long)layer;
    char mlp[80];
    add(true, hidden, 0, "%s%lu.input_layernorm.weight", prefix, l);
    add(false, hidden, hidden, "%s%lu.self_attn.q_proj.weight", prefix, l);
    add(false, kv, hidden, "%s%lu.self_attn.k_proj.weight", prefix, l);
    add(false, kv, hidden, "%s%lu.self_attn.v_proj.weight", prefix, l);
    add(false, hidden, hidden, "%s%lu.self_attn.o_proj.weight", prefix, l);
    add(true, hidden, 0, "%s%lu.post_attention_layernorm.weight", prefix, l);
    if (opt.experts)
        add(false, opt.experts, hidden, "%s%lu.mlp.gate.weight", prefix, l);
    for (uint64_t x = 0; x < opt.experts; x++) {
        snprintf(mlp, sizeof mlp, "%s%lu.mlp.experts.%lu", prefix, l, (unsigned long)x);
        add_mlp(mlp, hidden, inner);
    }
    snprintf(mlp, sizeof mlp, "%s%lu.mlp", prefix, l);
    if (!opt.experts)
        add_mlp(mlp, hidden, inner);
}

static uint64_t inner_size(uint64_t hidden)
{
    return opt.inner ? opt.inner : hidden * 11 / 4;
}

static uint64_t kv_size(uint64_t hidden)
{
    return opt.kv ? opt.kv : hidden >= 256 ? hidden / 4 : hidden;
}

/* Shapes of models too large to keep around: a dense one of 405.9e9 parameters, and a mixture of
 * experts of 1.04e12 in 70,702 tensors. */
static void take_shape_of(const char *like)
{
    static const struct {
        const char *name;
        uint64_t layers, hidden, inner, kv, vocab, experts;
    } known[] = {{"llama-405b", 126, 16384, 53248, 1024, 128256, 0},
                 {"moe-1t", 61, 7168, 2048, 1024, 163840, 384}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, like))
            continue;
        opt.layers = known[i].layers;
        opt.hidden = known[i].hidden;
        opt.inner = known[i].inner;
        opt.kv = known[i].kv;
        opt.vocab = known[i].vocab;
        opt.experts = known[i].experts;
        return;
    }
    die("--like: '%s' is neither llama-405b nor moe-1t", like);
}

/* Fills in layers, hidden and vocab from --bytes: a usual hidden size, as many layers as fit beside
 * a usual vocabulary, and the vocabulary makes up the difference. */
static void choose_shape(void)
{
    unsigned width = dtype_bytes[opt.dtypes[0]];
    uint64_t values = opt.bytes / width;
    if (!opt.hidden)
        opt.hidden = values < 4000000         ? 128
                     : values < 100000000     ? 512
                     : values < 3000000000ull ? 2048
                                              : 4096;
    uint64_t h = opt.hidden;
    uint64_t layer = h * (2 * h + 2 * kv_size(h) + 3 * inner_size(h)) + 2 * h;
    uint64_t vocab = opt.largest ? opt.largest / (h * width) + 1 : h * 16;
    uint64_t head = 2 * h * vocab;
    if (!opt.layers)
        opt.layers = values > head + layer ? (values - head) / layer : 1;
    uint64_t rest = values > opt.layers * layer ? values - opt.layers * layer : 0;
    if (!opt.vocab)
        opt.vocab = opt.largest || rest < 2 * h * 8 ? vocab : rest / (2 * h);
}

static void make_layout(void)
{
    if (opt.tensors) {
        uint64_t width = dtype_bytes[opt.dtypes[0]];
        uint64_t each = opt.bytes ? opt.bytes / opt.tensors / width : 64;
        for (uint64_t i = 0; i < opt.tensors; i++)
            add(false, each ? each : 1, 0, "model.layers.%lu.part%lu.weight",
                (unsigned long)(i / 100), (unsigned long)(i % 100));
        return;
    }
    if (opt.like)
        take_shape_of(opt.like);
    else if (opt.bytes)
        choose_shape();
    if (!opt.layers || !opt.hidden || !opt.vocab)
        die("give --bytes, --like, --layers with --hidden and --vocab, or --tensors");
    add(false, opt.vocab, opt.hidden, "model.embed_tokens.weight");
    for (uint64_t l = 0; l < opt.layers; l++)
        add_layer(l, opt.hidden, inner_size(opt.hidden), kv_size(opt.hidden));
    add(true, opt.hidden, 0, "model.norm.weight");
    add(false, opt.vocab, opt.hidden, "lm_head.weight");
}

static int by_file_order(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (dtype_rank[x->dtype] != dtype_rank[y->dtype])
        return dtype_rank[x->dtype] > dtype_rank[y->dtype] ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Splits the list where a file would grow over --shard-size, then puts each file in order. */
static void make_shards(void)
{
    for (size_t i = 0; i < n_tensors; i++) {
        struct shard *s = n_shards ? &shards[n_shards - 1] : NULL;
        if (!s || (s->data_bytes && s->data_bytes + tensors[i].bytes > opt.shard_bytes)) {
            shards = grow(shards, (n_shards + 1) * sizeof *shards);
            s = &shards[n_shards++];
            *s = (struct shard){.first = i, .fd = -1};
        }
        s->n++;
        s->data_bytes += tensors[i].bytes;
    }
    for (size_t k = 0; k < n_shards; k++) {
        struct shard *s = &shards[k];
        qsort(&tensors[s->first], s->n, sizeof *tensors, by_file_order);
        for (size_t i = s->first; i < s->first + s->n; i++)
            tensors[i].shard = (uint32_t)k;
        if (n_shards == 1)
            snprintf(s->path, sizeof s->path, "%s/model.safetensors", opt.out);
        else
            snprintf(s->path, sizeof s->path, "%s/model-%05zu-of-%05zu.safetensors", opt.out, k + 1,
                     n_shards);
    }
}

/* ---- files ---- */

static void write_at(int fd, const char *path, const void *data, size_t n, uint64_t offset)
{
    const char *p = data;
    while (n) {
        ssize_t got = pwrite(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("%s: write at byte %llu: %s", path, (unsigned long long)offset, strerror(errno));
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
}

/* Writes the header, gives each tensor its place, and sets the file to its final size:
 *
 *     [u64 header bytes][JSON, padded with spaces to a multiple of 8][data]
 */
static void write_header(struct shard *s)
{
    size_t room = 64 + s->n * 256, n = 8;
    char *text = grow(NULL, room);
    uint64_t at = 0;
    n += (size_t)snprintf(text + n, room - n, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = s->first; i < s->first + s->n; i++) {
        struct tensor *t = &tensors[i];
        char shape[48];
        if (t->shape[1])
            snprintf(shape, sizeof shape, "%llu,%llu", (unsigned long long)t->shape[0],
                     (unsigned long long)t->shape[1]);
        else
            snprintf(shape, sizeof shape, "%llu", (unsigned long long)t->shape[0]);
        n += (size_t)snprintf(
            text + n, room - n,
            ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", t->name,
            dtype_name[t->dtype], shape, (unsigned long long)at,
            (unsigned long long)(at + t->bytes));
        t->offset = at;
        at += t->bytes;
    }
    text[n++] = '}';
    while (n % 8)
        text[n++] = ' ';
    for (unsigned b = 0; b < 8; b++)
        text[b] = (char)((uint64_t)(n - 8) >> (8 * b));
    s->fd = open(s->path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (s->fd < 0 || ftruncate(s->fd, (off_t)(n + at)))
        die("%s: %s", s->path, strerror(errno));
    write_at(s->fd, s->path, text, n, 0);
    free(text);
    for (size_t i = s->first; i < s->first + s->n; i++)
        tensors[i].offset += n;
}

static FILE *create(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", opt.out, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die("%s: %s", path, strerror(errno));
    return f;
}

static void close_text(FILE *f)
{
    if (fclose(f))
        die("%s: cannot write: %s", opt.out, strerror(errno));
}

static void write_index(void)
{
    FILE *f = create("model.safetensors.index.json");
    uint64_t total = 0;
    for (size_t i = 0; i < n_tensors; i++)
        total += tensors[i].bytes;
    fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
            (unsigned long long)total);
    for (size_t i = 0; i < n_tensors; i++)
        fprintf(f, "%s\n    \"%s\": \"%s\"", i ? "," : "", tensors[i].name,
                strrchr(shards[tensors[i].shard].path, '/') + 1);
    fputs("\n  }\n}\n", f);
    close_text(f);
}

static void write_config(void)
{
    FILE *f = create("config.json");
    unsigned long long hidden = opt.hidden ? opt.hidden : 64,
                       heads = hidden >= 256 ? hidden / 64 : 4;
    unsigned long long kv = hidden >= 256 ? heads / 4 : heads;
    if (opt.kv)
        kv = opt.kv * heads / hidden;
    fprintf(f,
            "{\n  \"architectures\": [\n    \"%sForCausalLM\"\n  ],\n"
            "  \"model_type\": \"%s\",\n  \"hidden_act\": \"silu\",\n",
            opt.experts ? "Qwen3Moe" : "Llama", opt.experts ? "qwen3_moe" : "llama");
    if (opt.experts)
        fprintf(f, "  \"num_experts\": %llu,\n  \"moe_intermediate_size\": %llu,\n",
                (unsigned long long)opt.experts, (unsigned long long)inner_size(hidden));
    fprintf(f,
            "  \"hidden_size\": %llu,\n  \"intermediate_size\": %llu,\n"
            "  \"num_attention_heads\": %llu,\n  \"num_key_value_heads\": %llu,\n"
            "  \"num_hidden_layers\": %llu,\n  \"vocab_size\": %llu,\n"
            "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n"
            "  \"max_position_embeddings\": 2048,\n  \"tie_word_embeddings\": false,\n"
            "  \"torch_dtype\": \"%s\"\n}\n",
            hidden, (unsigned long long)inner_size(hidden), heads, kv,
            (unsigned long long)(opt.layers ? opt.layers : 1),
            (unsigned long long)(opt.vocab ? opt.vocab : 256),
            opt.dtypes[0] == BF16  ? "bfloat16"
            : opt.dtypes[0] == F16 ? "float16"
            : opt.dtypes[0] == F32 ? "float32"
                                   : "float64");
    close_text(f);
    f = create("generation_config.json");
    fputs("{\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2\n}\n", f);
    close_text(f);
    f = create("tokenizer.json");
    fputs("{\"version\":\"1.0\",\"model\":{\"type\":\"BPE\",\"vocab\":{", f);
    for (unsigned i = 0; i < 256; i++)
        fprintf(f, "%s\"<0x%02X>\":%u", i ? "," : "", i, i);
    fputs("},\"merges\":[]}}\n", f);
    close_text(f);
    f = create("tokenizer_config.json");
    fputs("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
          "  \"model_max_length\": 2048\n}\n",
          f);
    close_text(f);
}

/* ---- data, by all threads ---- */

static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t work_tensor;
static uint64_t work_first;

/* The next piece that nobody has taken; false when there is none. */
static bool take(size_t *tensor, uint64_t *first, size_t *n)
{
    pthread_mutex_lock(&work_lock);
    bool got = work_tensor < n_tensors;
    if (got) {
        const struct tensor *t = &tensors[work_tensor];
        uint64_t most = CHUNK_BYTES / dtype_bytes[t->dtype], left = t->count - work_first;
        *tensor = work_tensor;
        *first = work_first;
        *n = (size_t)(left < most ? left : most);
        work_first += *n;
        if (work_first >= t->count) {
            work_tensor++;
            work_first = 0;
        }
    }
    pthread_mutex_unlock(&work_lock);
    return got;
}

static void *worker(void *unused)
{
    (void)unused;
    char *buffer = grow(NULL, CHUNK_BYTES);
    size_t i, n;
    uint64_t first;
    while (take(&i, &first, &n)) {
        const struct tensor *t = &tensors[i];
        unsigned width = dtype_bytes[t->dtype];
        fill(t, first, n, buffer);
        write_at(shards[t->shard].fd, shards[t->shard].path, buffer, n * width,
                 t->offset + first * width);
    }
    free(buffer);
    return NULL;
}

static void write_data(void)
{
    pthread_t threads[256];
    size_t n = opt.threads < 256 ? (size_t)opt.threads : 256;
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL))
            die("cannot start thread %zu", i);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void plant_nan(void)
{
    char name[sizeof tensors->name];
    const char *colon = strrchr(opt.nan, ':');
    unsigned long long index;
    char rest;
    if (!colon || (size_t)(colon - opt.nan) >= sizeof name ||
        sscanf(colon + 1, "%llu%c", &index, &rest) != 1)
        die("--nan wants TENSOR:INDEX, not '%s'", opt.nan);
    snprintf(name, sizeof name, "%.*s", (int)(colon - opt.nan), opt.nan);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        if (strcmp(t->name, name))
            continue;
        if (index >= t->count)
            die("--nan: %s has %llu elements", name, (unsigned long long)t->count);
        static const unsigned char bits[][8] = {[BF16] = {0xc0, 0x7f},
                                                [F16] = {0x00, 0x7e},
                                                [F32] = {0, 0, 0xc0, 0x7f},
                                                [F64] = {0, 0, 0, 0, 0, 0, 0xf8, 0x7f}};
        unsigned width = dtype_bytes[t->dtype];
        write_at(shards[t->shard].fd, shards[t->shard].path, bits[t->dtype], width,
                 t->offset + index * width);
        return;
    }
    die("--nan: no tensor '%s'", name);
}

/* ---- options ---- */

static uint64_t parse_size(const char *option, const char *text)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1},
                 {"K", 1000},
                 {"M", 1000000},
                 {"G", 1000000000},
                 {"T", 1000000000000},
                 {"Ki", 1ull << 10},
                 {"Mi", 1ull << 20},
                 {"Gi", 1ull << 30},
                 {"Ti", 1ull << 40}};
    char unit[4] = "";
    unsigned long long n;
    if (text[0] < '0' || text[0] > '9' || sscanf(text, "%llu%3s", &n, unit) < 1)
        die("%s: '%s' is not a size", option, text);
    size_t length = strlen(unit);
    if (length && unit[length - 1] == 'B')
        unit[length - 1] = 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].unit) && n <= UINT64_MAX / units[i].factor)
            return n * units[i].factor;
    die("%s: '%s' is not a size (use K M G T or Ki Mi Gi Ti)", option, text);
    return 0;
}

static void parse_dtypes(const char *text)
{
    opt.n_dtypes = 0;
    while (*text) {
        size_t n = strcspn(text, ","), found = 4;
        for (size_t d = 0; d < 4; d++)
            if (strlen(dtype_option[d]) == n && !strncmp(dtype_option[d], text, n))
                found = d;
        if (found == 4 || opt.n_dtypes == 16)
            die("--dtype: '%.*s' is not one of bf16, f16, f32, f64", (int)n, text);
        opt.dtypes[opt.n_dtypes++] = (enum dtype)found;
        text += n + (text[n] == ',');
    }
    if (!opt.n_dtypes)
        die("--dtype: empty");
}

static void parse_options(char **argv)
{
    const struct {
        const char *name;
        uint64_t *size;
        bool *flag;
        const char **text;
    } table[] = {{"--bytes", &opt.bytes, NULL, NULL},
                 {"--layers", &opt.layers, NULL, NULL},
                 {"--hidden", &opt.hidden, NULL, NULL},
                 {"--vocab", &opt.vocab, NULL, NULL},
                 {"--inner", &opt.inner, NULL, NULL},
                 {"--kv", &opt.kv, NULL, NULL},
                 {"--experts", &opt.experts, NULL, NULL},
                 {"--tensors", &opt.tensors, NULL, NULL},
                 {"--largest", &opt.largest, NULL, NULL},
                 {"--seed", &opt.seed, NULL, NULL},
                 {"--base-seed", &opt.base_seed, NULL, NULL},
                 {"--shard-size", &opt.shard_bytes, NULL, NULL},
                 {"--threads", &opt.threads, NULL, NULL},
                 {"--config", NULL, &opt.config, NULL},
                 {"--headers-only", NULL, &opt.headers_only, NULL},
                 {"--out", NULL, NULL, &opt.out},
                 {"--like", NULL, NULL, &opt.like},
                 {"--nan", NULL, NULL, &opt.nan}};
    const size_t n = sizeof table / sizeof *table;
    for (char **a = argv + 1; *a; a++) {
        const char *name = *a;
        size_t i = 0;
        if (!strcmp(name, "-h") || !strcmp(name, "--help")) {
            fputs(usage, stdout);
            exit(0);
        }
        while (i < n && strcmp(name, table[i].name))
            i++;
        if (i < n && table[i].flag) {
            *table[i].flag = true;
            continue;
        }
        if (!a[1])
            die("%s: unknown, or its value is missing\n%s", name, usage);
        const char *given = *++a;
        if (!strcmp(name, "--dtype"))
            parse_dtypes(given);
        else if (!strcmp(name, "--delta") && sscanf(given, "%lf", &opt.delta) == 1)
            continue;
        else if (i < n && table[i].size)
            *table[i].size = parse_size(name, given);
        else if (i < n)
            *table[i].text = given;
        else
            die("unknown option '%s'\n%s", name, usage);
        opt.has_base |= !strcmp(name, "--base-seed");
    }
}

static void make_folder(const char *path)
{
    char part[4096];
    for (size_t i = 1; i < sizeof part && path[i - 1]; i++) {
        if (path[i] && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0755) && errno != EEXIST)
            die("%s: %s", part, strerror(errno));
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    parse_options(argv);
    if (!opt.out)
        die("--out is missing\n%s", usage);
    if (!opt.threads)
        opt.threads = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    make_layout();
    make_shards();
    make_folder(opt.out);
    for (size_t i = 0; i < n_shards; i++)
        write_header(&shards[i]);
    if (n_shards > 1)
        write_index();
    if (opt.config)
        write_config();
    if (!opt.headers_only)
        write_data();
    if (opt.nan)
        plant_nan();
    for (size_t i = 0; i < n_shards; i++)
        if (close(shards[i].fd))
            die("%s: %s", shards[i].path, strerror(errno));
    free(tensors);
    free(shards);
    return 0;
}
