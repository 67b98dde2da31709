/* fake_plugin.h - what the fake plugin tells tests besides its table: WF_FAKE_SYMBOL. */
#ifndef WF_FAKE_PLUGIN_H
#define WF_FAKE_PLUGIN_H

#include <stdint.h>

#define WF_FAKE_SYMBOL "weft_fake_state"

struct wf_fake_state {
    uint64_t launches, copies_in;   /* since the plugin was last asked for its table */
    uint64_t unpinned;              /* copies to or from host memory that is not pinned */
    uint64_t memory, pinned, lanes; /* that are there now */
};

typedef struct wf_fake_state wf_fake_state_fn(void);

#endif
