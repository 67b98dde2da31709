/* test_verify.c - `weft verify`: format, manifest, checksums; damage is found and located. */
#include "tool_fixture.h"

#include <openssl/sha.h>
#include <xxhash.h>

#include "../../src/tool/verify.h"

#define BLOCK 65536u
#define ELEMENTS 50000u /* F32: 200,000 bytes and a header: four blocks, the last one short */

static int verify(struct fx *f, const char *name)
{
    f->options.json = true;
    int s = FX_RUN(f, wf_verify_run(&f->e, &f->options, fx_path(f, name)));
    fx_json(f);
    return s;
}

/* The reason of the line about `name`; the test fails if its result is not `result`. */
static const char *reason(struct fx *f, const char *name, const char *result)
{
    const struct wf_json *line = fx_line(f, "check", "name", name);
    for (size_t i = 0; i < f->n_lines; i++) { /* several lines may be about one name */
        const char *n = wf_json_string(f->lines[i], "name");
        const char *r = wf_json_string(f->lines[i], "result");
        if (n && !strcmp(n, name) && r && !strcmp(r, result))
            line = f->lines[i];
    }
    fx_assert_string(line, "result", result);
    const char *text = wf_json_string(line, "reason");
    return text ? text : "";
}

/* ---- a model with a manifest, checksummed here with the libraries alone ---- */

static void hex(const unsigned char *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void add_xxh3(struct wf_str *s, const char *data, size_t n)
{
    unsigned char all[64][16];
    char text[33];
    size_t n_blocks = 0;
    wf_str_printf(s, ",\"block_bytes\":%u,\"blocks\":[", BLOCK);
    for (size_t at = 0; at < n; at += BLOCK, n_blocks++) {
        XXH128_canonicalFromHash((XXH128_canonical_t *)(void *)all[n_blocks],
                                 XXH3_128bits(data + at, n - at < BLOCK ? n - at : BLOCK));
        hex(all[n_blocks], 16, text);
        wf_str_printf(s, "%s\"%s\"", at ? "," : "", text);
    }
    XXH128_canonical_t list;
    XXH128_canonicalFromHash(&list, XXH3_128bits(all, n_blocks * 16));
    hex(list.digest, 16, text);
    wf_str_printf(s, "],\"xxh3_128\":\"%s\"", text);
}

enum sum { XXH3, SHA, NONE };

static void add_file(struct fx *f, struct wf_str *s, const char *name, enum sum sum)
{
    char *data, text[65], path[128];
    unsigned char digest[32];
    size_t n;
    snprintf(path, sizeof path, "m/%s", name);
    assert_int_equal(wf_read_small(&f->e, WF_INPUT, fx_path(f, path), 1 << 24, &data, &n), WF_OK);
    wf_str_printf(s, "{\"name\":\"%s\",\"bytes\":%zu", name, n);
    if (sum == XXH3)
        add_xxh3(s, data, n);
    if (sum == SHA) {
        SHA256((const unsigned char *)data, n, digest);
        hex(digest, 32, text);
        wf_str_printf(s, ",\"sha256\":\"%s\"", text);
    }
    wf_str_puts(s, "}");
    wf_free(data);
}

#define HEAD                                                                                       \
    "{\"recipe\":\"models: []\\n\",\"seed\":0,\"options\":{},\"version\":\"0.1.0\",\"inputs\":[],"
#define TENSORS                                                                                    \
    "\"tensors\":{\"w\":{\"file\":\"model.safetensors\",\"dtype\":\"F32\",\"shape\":[50000],"      \
    "\"action\":\"linear\"}},"

static void model(struct fx *f, enum sum sum)
{
    static float values[ELEMENTS];
    struct wf_str s = {0};
    for (size_t i = 0; i < ELEMENTS; i++)
        values[i] = (float)i * 0.5f;
    struct fx_tensor t = {"w", WF_F32, 1, {ELEMENTS}, values};
    if (!wf_is_folder(fx_path(f, "m")))
        fx_folder(f, "m");
    fx_st(f, "m/model.safetensors", &t, 1, NULL, 0);
    fx_text(f, "m/config.json", "{\"model_type\":\"test\"}");
    wf_str_puts(&s, HEAD TENSORS "\"files\":[");
    add_file(f, &s, "model.safetensors", sum);
    wf_str_puts(&s, ",");
    add_file(f, &s, "config.json", sum);
    wf_str_puts(&s, "]}\n");
    fx_write(f, "m/weft_manifest.json", s.text, s.n);
    wf_str_free(&s);
}

static void flip(struct fx *f, const char *name, off_t offset)
{
    unsigned char byte;
    FILE *file = fopen(fx_path(f, name), "r+b");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    assert_int_equal(fread(&byte, 1, 1, file), 1);
    byte ^= 0x40;
    fseek(file, offset, SEEK_SET);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    fclose(file);
}

/* ---- tests ---- */

static void test_whole_model_passes_with_every_kind_of_checksum(void **state)
{
    struct fx *f = *state;
    for (enum sum sum = XXH3; sum <= NONE; sum++) {
        model(f, sum);
        int s = verify(f, "m");
        if (s)
            fail_msg("%s", f->text);
        const struct wf_json *summary = fx_line(f, "summary", "result", "ok");
        assert_int_equal((int)fx_number(summary, "failed"), 0);
        assert_int_equal((int)fx_number(summary, "warnings"), 0);
        reason(f, "model.safetensors", "ok");
        reason(f, "config.json", "ok");
        assert_true(sum == NONE ? fx_number(summary, "bytes_read") == 0
                                : fx_number(summary, "bytes_read") > 200000);
    }
}

static void test_damaged_blocks_are_located(void **state)
{
    struct fx *f = *state;
    model(f, XXH3);
    flip(f, "m/model.safetensors", 2 * BLOCK + 5);
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "model.safetensors", "failed"), "bytes 131072 to 196607");
    assert_string_equal(f->e.text, "");
    flip(f, "m/model.safetensors", 199999);
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "model.safetensors", "failed"),
                  "bytes 131072 to 196607 and 1 more of 4 blocks");
    for (f->options.threads = 1; f->options.threads < 6; f->options.threads++) {
        char *before = strdup(f->text);
        assert_int_equal(verify(f, "m"), WF_NO);
        assert_string_equal(f->text, before);
        free(before);
    }
    model(f, SHA);
    flip(f, "m/model.safetensors", 199999);
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "model.safetensors", "failed"), "SHA-256");
    f->options.json = false;
    assert_int_equal(FX_RUN(f, wf_verify_run(&f->e, &f->options, fx_path(f, "m"))), WF_NO);
    fx_assert_has(f->text, "FAILED   file");
}

static void test_header_damage_is_found_by_format_and_checksum(void **state)
{
    struct fx *f = *state;
    model(f, XXH3);
    flip(f, "m/model.safetensors", 8);
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "weights", "failed"), "model.safetensors");
    fx_assert_has(reason(f, "model.safetensors", "failed"), "bytes 0 to 65535");
}

static void test_files_missing_cut_or_added(void **state)
{
    struct fx *f = *state;
    float v[] = {1};
    struct fx_tensor t = {"x", WF_F32, 1, {1}, v};
    model(f, XXH3);
    fx_st(f, "m/extra.safetensors", &t, 1, NULL, 0);
    assert_int_equal(verify(f, "m"), WF_NO);
    assert_string_equal(reason(f, "extra.safetensors", "failed"), "not in the manifest");
    model(f, NONE);
    assert_int_equal(truncate(fx_path(f, "m/config.json"), 2), 0);
    unlink(fx_path(f, "m/extra.safetensors"));
    fx_text(f, "m/config.json", "{}");
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "config.json", "failed"), "2 bytes; the manifest says 21");
    model(f, XXH3);
    unlink(fx_path(f, "m/config.json"));
    assert_int_equal(verify(f, "m"), WF_NO);
    assert_string_equal(reason(f, "config.json", "failed"), "missing");
    fx_folder(f, "m/config.json"); /* there, but no file: not opened, not followed */
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(f->text, "not a regular file");
}

static void test_manifest_and_tensors_must_agree(void **state)
{
    static const struct {
        const char *tensors, *reason;
    } cases[] = {
        {"{}", "the manifest has 0 tensors, the model 1"},
        {"{\"w\":{\"file\":\"model.safetensors\",\"dtype\":\"F16\",\"shape\":[50000]}}",
         "holds F32"},
        {"{\"w\":{\"file\":\"model.safetensors\",\"dtype\":\"F32\",\"shape\":[5]}}", "'w'"},
        {"{\"w\":{\"file\":\"other.safetensors\",\"dtype\":\"F32\",\"shape\":[50000]}}", "'w'"},
        {"{\"w\":{\"file\":\"model.safetensors\",\"dtype\":\"F32\",\"shape\":[5,10000]}}", "'w'"},
        {"{\"w\":{\"file\":\"model.safetensors\",\"dtype\":\"F32\",\"shape\":[\"50000\"]}}", "'w'"},
        {"{\"w\":7}", "lacks its file"},
        {"{\"v\":{\"file\":\"a\",\"dtype\":\"F32\",\"shape\":[]},\"u\":{}}", "2 wrong in all"},
    };
    struct fx *f = *state;
    model(f, NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 HEAD "\"tensors\":%s,\"files\":[{\"name\":\"model.safetensors\",\"bytes\":%u}]}",
                 cases[i].tensors, 0);
        fx_text(f, "m/weft_manifest.json", text);
        assert_int_equal(verify(f, "m"), WF_NO);
        const struct wf_json *line = fx_line(f, "check", "what", "tensors");
        fx_assert_string(line, "result", "failed");
        fx_assert_has(wf_json_string(line, "reason"), cases[i].reason);
    }
}

#define H32 "\"00000000000000000000000000000000\""
#define H64 "\"0000000000000000000000000000000000000000000000000000000000000000\""
#define ONE(entry) HEAD "\"tensors\":{},\"files\":[" entry "]}"
#define NAMED(name) ONE("{\"name\":" name ",\"bytes\":1}")
#define PLANNED(options)                                                                           \
    "{\"recipe\":\"\",\"seed\":0,\"options\":{" options "},\"version\":\"\",\"inputs\":[],"        \
    "\"tensors\":{},\"files\":[]}"
#define SUMMED(sum) ONE("{\"name\":\"config.json\",\"bytes\":100000," sum "}")

static void test_hostile_manifests_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "manifest"},
        {"[]", "not a JSON object"},
        {"{\"recipe\":", "manifest"},
        {"{}", "\"recipe\" is missing"},
        {"{\"recipe\":[]}", "\"recipe\" is of another type; expected text"},
        {"{\"recipe\":\"\",\"seed\":\"0\"}", "\"seed\""},
        {HEAD "\"tensors\":[],\"files\":[]}", "\"tensors\""},
        {HEAD "\"tensors\":{},\"files\":{}}", "\"files\""},
        {PLANNED("\"plan\":7"), "\"plan\""},
        {PLANNED("\"plan\":" H32), "\"plan_parts\""},
        {PLANNED("\"plan_parts\":[]"), "\"plan\""},
        {PLANNED("\"plan\":" H32 ",\"plan_parts\":[" H32 "," H64 "]"), "plan part 1 is not"},
        {ONE("7"), "no \"name\""},
        {ONE("null"), "no \"name\""},
        {ONE("{\"bytes\":1}"), "no \"name\""},
        {NAMED("[]"), "no \"name\""},
        {NAMED("\"\""), "empty"},
        {NAMED("\"/etc/passwd\""), "absolute"},
        {NAMED("\"../a\""), "'..'"},
        {NAMED("\"a/../../b\""), "'..'"},
        {NAMED("\"a/..\""), "'..'"},
        {NAMED("\"./a\""), "'.'"},
        {NAMED("\"a//b\""), "empty part"},
        {NAMED("\"a/\""), "empty part"},
        {NAMED("\"a\\nb\""), "control character"},
        {ONE("{\"name\":\"a\"}"), "\"bytes\""},
        {ONE("{\"name\":\"a\",\"bytes\":-1}"), "\"bytes\""},
        {ONE("{\"name\":\"a\",\"bytes\":1.5}"), "\"bytes\""},
        {ONE("{\"name\":\"a\",\"bytes\":1e400}"), "manifest"},
        {ONE("{\"name\":\"a\",\"bytes\":18446744073709551615}"), "\"bytes\""},
        {ONE("{\"name\":\"a\",\"bytes\":1},{\"name\":\"a\",\"bytes\":1}"), "listed twice"},
        {SUMMED("\"sha256\":7"), "\"sha256\""},
        {SUMMED("\"sha256\":\"00\""), "\"sha256\""},
        {SUMMED("\"sha256\":\"g" H64 "\""), "manifest"},
        {SUMMED("\"xxh3_128\":7"), "\"xxh3_128\""},
        {SUMMED("\"xxh3_128\":" H64), "\"xxh3_128\""},
        {SUMMED("\"xxh3_128\":" H32), "\"block_bytes\""},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":0,\"blocks\":[]"), "\"block_bytes\""},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":1,\"blocks\":[]"), "\"block_bytes\""},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":65536"), "\"blocks\" is not a list"},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":65536,\"blocks\":[" H32 "]"),
         "1 block checksums where 100000 bytes have 2"},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":65536,\"blocks\":[" H32 ",8]"),
         "block 1 is not"},
        {SUMMED("\"xxh3_128\":" H32 ",\"block_bytes\":65536,\"blocks\":[" H32 "," H32 "]"),
         "does not match its own checksum"},
        {ONE("{\"name\":\"a\",\"bytes\":9007199254740992,\"xxh3_128\":" H32
             ",\"block_bytes\":65536,\"blocks\":[]}"),
         "0 block checksums where"},
    };
    struct fx *f = *state;
    model(f, NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fx_text(f, "m/weft_manifest.json", cases[i].text);
        assert_int_equal(verify(f, "m"), WF_NO);
        const char *why = reason(f, "weft_manifest.json", "failed");
        if (!strstr(why, cases[i].reason))
            fail_msg("%s\ngives: %s", cases[i].text, why);
        assert_null(strchr(why, '\n'));
    }
}

static void test_manifest_may_name_files_in_folders_below(void **state)
{
    struct fx *f = *state;
    struct wf_str s = {0};
    model(f, NONE);
    fx_folder(f, "m/1_Pooling");
    fx_text(f, "m/1_Pooling/config.json", "{}");
    wf_str_puts(&s, HEAD TENSORS "\"files\":[");
    add_file(f, &s, "1_Pooling/config.json", SHA);
    wf_str_puts(&s, ",");
    add_file(f, &s, "model.safetensors", XXH3);
    wf_str_puts(&s, "]}");
    fx_write(f, "m/weft_manifest.json", s.text, s.n);
    wf_str_free(&s);
    assert_int_equal(verify(f, "m"), WF_OK);
    reason(f, "1_Pooling/config.json", "ok");
}

static void test_without_a_manifest_the_format_is_checked(void **state)
{
    struct fx *f = *state;
    model(f, NONE);
    unlink(fx_path(f, "m/weft_manifest.json"));
    assert_int_equal(verify(f, "m"), WF_OK);
    assert_int_equal(verify(f, "m/model.safetensors"), WF_OK);
    fx_text(f, "m/config.json", "{\"a\":}");
    assert_int_equal(verify(f, "m"), WF_NO);
    fx_assert_has(reason(f, "weights", "failed"), "config.json");
    unlink(fx_path(f, "m/config.json"));
    assert_int_equal(verify(f, "m"), WF_OK);
    reason(f, "config.json", "warning");
    assert_int_equal(truncate(fx_path(f, "m/model.safetensors"), 1000), 0);
    assert_int_equal(verify(f, "m"), WF_NO);
    assert_string_equal(f->e.text, "");
}

static void test_a_wrong_total_in_the_index_is_a_warning(void **state)
{
    static const struct {
        const char *total, *result, *reason;
    } cases[] = {{"200000", "ok", ""},
                 {"200001", "warning", "total_size is 200001; the tensors have 200000 bytes"},
                 {"\"200000\"", "warning", "total_size"},
                 {"1e5", "warning", "total_size"},
                 {"null", "warning", "total_size"}};
    struct fx *f = *state;
    model(f, NONE);
    unlink(fx_path(f, "m/weft_manifest.json"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"metadata\":{\"total_size\":%s},\"weight_map\":{\"w\":\"model.safetensors\"}}",
                 cases[i].total);
        fx_text(f, "m/model.safetensors.index.json", text);
        assert_int_equal(verify(f, "m"), WF_OK);
        fx_assert_has(reason(f, "model.safetensors.index.json", cases[i].result), cases[i].reason);
    }
}

static void test_an_absent_model_is_a_wrong_question(void **state)
{
    struct fx *f = *state;
    assert_int_equal(verify(f, "nothing"), WF_USAGE);
    assert_string_equal(f->text, "");
    fx_folder(f, "empty");
    assert_int_equal(verify(f, "empty"), WF_USAGE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_whole_model_passes_with_every_kind_of_checksum),
        T(test_damaged_blocks_are_located),
        T(test_header_damage_is_found_by_format_and_checksum),
        T(test_files_missing_cut_or_added),
        T(test_manifest_and_tensors_must_agree),
        T(test_hostile_manifests_are_refused_with_the_reason),
        T(test_manifest_may_name_files_in_folders_below),
        T(test_without_a_manifest_the_format_is_checked),
        T(test_a_wrong_total_in_the_index_is_a_warning),
        T(test_an_absent_model_is_a_wrong_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
