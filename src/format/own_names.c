/* own_names.c - see own_names.h. */
#include "own_names.h"

#include <string.h>

static bool begins(const char *name, size_t n, const char *with)
{
    size_t k = strlen(with);
    return n >= k && !memcmp(name, with, k);
}

bool wf_own_name(const char *name, size_t n)
{
    static const char *const names[] = {"config.json",
                                        "README.md",
                                        "adapter_config.json",
                                        "adapter_model.safetensors",
                                        "mergekit_config.yml",
                                        "ranks",
                                        "spool",
                                        "components",
                                        "components.spool",
                                        NULL};
    for (size_t i = 0; names[i]; i++)
        if (strlen(names[i]) == n && !memcmp(names[i], name, n))
            return true;
    bool weights = begins(name, n, "model") && memmem(name, n, ".safetensors", 12);
    return weights || begins(name, n, "weft.") || begins(name, n, "weft_");
}
