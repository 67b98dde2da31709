/* replay.c - runs a fuzz target over the files named on the command line, without libFuzzer.
 *
 * Linked with one fuzz_<name>.c. Each input is copied into a block of exactly its size, so that the
 * address sanitizer sees the first byte read past the end. Prints the number of files.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) {
        perror(path);
        exit(1);
    }
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*n ? *n : 1);
    if (!data || fread(data, 1, *n, f) != *n) {
        perror(path);
        exit(1);
    }
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t n;
        uint8_t *data = read_file(argv[i], &n);
        fprintf(stderr, "replay %s\n", argv[i]); /* the last line names the file that broke it */
        LLVMFuzzerTestOneInput(data, n);
        free(data);
    }
    printf("%d\n", argc - 1);
    return 0;
}
