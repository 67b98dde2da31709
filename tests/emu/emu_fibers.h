/* emu_fibers.h - the emulator's quick engine: the threads of a block are fibers of one thread of
 * the system, blocks come one after the other.
 *
 * A fiber runs threads one after the other until one of them waits, so a kernel without barriers
 * costs no switch at all. Barriers count who waits; when nobody can go on and no barrier is full,
 * the kernel would hang on a device as well, and the program ends.
 *
 * EMU_ORDER=fwd|rev|rand is the order in which threads of a block go on; dynamic shared memory is
 * full of a pattern when a block begins. Everything is thread_local: launches from several threads
 * of the system do not meet.
 */
#ifndef EMU_FIBERS_H
#define EMU_FIBERS_H

#include <memory>
#include <vector>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define __shared__ static thread_local /* one block at a time in each thread of the system */

namespace emu
{
enum wait { GOES_ON, WAITS_FOR_BLOCK, WAITS_FOR_WARP };
enum order { FORWARD, REVERSE, RANDOM };

struct fiber_thread : thread {
    wait waits;
};

struct fiber_warp {
    uint64_t slots[warp_size];
    unsigned lanes, alive, arrived;
};

struct fiber_block : place {
    unsigned n, next, alive, arrived; /* threads: all, next to start, not done, at the barrier */
    std::vector<fiber_thread> threads;
    std::vector<fiber_warp> warps;
    std::unique_ptr<uint4[]> shared;
    size_t shared_bytes;
    void (*body)(void *);
    void *arg;
    enum order order;
    uint64_t random;
};

/* A stack, and the thread that runs on it. */
struct fiber {
#ifdef __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
    void *map;
    const void *stack;
    size_t bytes;
    fiber_thread *runs;
    void *fake; /* the address sanitizer's */

    fiber() : map(nullptr), stack(nullptr), bytes(0), runs(nullptr), fake(nullptr)
    {
    }
    fiber(const fiber &) = delete;
    fiber &operator=(const fiber &) = delete;
    ~fiber();
};

constexpr size_t stack_bytes = 256 << 10, guard_bytes = 4096;

inline thread_local fiber_block *block_now;
inline thread_local fiber_thread *thread_now;
inline thread_local fiber *fiber_now;
inline thread_local fiber fiber_main; /* the stack that launched */
inline thread_local std::vector<std::unique_ptr<fiber>> fibers;

inline const thread &self()
{
    return *thread_now;
}

inline const place &here()
{
    return *block_now;
}

inline uint64_t *warp_slots()
{
    return block_now->warps[thread_now->warp].slots;
}

inline unsigned warp_lanes()
{
    return block_now->warps[thread_now->warp].lanes;
}

inline void *dynamic_shared()
{
    return block_now->shared.get();
}

[[noreturn]] inline void die(const char *what)
{
    std::fprintf(stderr, "emu: %s (block %u, thread %u)\n", what, block_now ? block_now->bid.x : 0,
                 thread_now ? thread_now->tid.x : 0);
    std::abort();
}

/* ---- stacks ---- */

#ifdef __x86_64__
/* Pushes what a callee keeps, stores the stack pointer in *from and goes on with the stack `to`. */
extern "C" void emu_switch_stack(void **from, void *to);
asm(".text\n"
    ".weak emu_switch_stack\n"
    ".type emu_switch_stack,@function\n"
    "emu_switch_stack:\n"
    "  pushq %rbp\n"
    "  pushq %rbx\n"
    "  pushq %r12\n"
    "  pushq %r13\n"
    "  pushq %r14\n"
    "  pushq %r15\n"
    "  movq %rsp,(%rdi)\n"
    "  movq %rsi,%rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  ret\n"
    ".size emu_switch_stack,.-emu_switch_stack\n");
#endif

inline void switch_to(fiber *from, fiber *to)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->bytes);
#endif
#ifdef __x86_64__
    emu_switch_stack(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

/* Lets others go on; comes back when the thread may. */
inline void pause()
{
    fiber *f = fiber_now;
    fiber_thread *t = thread_now;
    switch_to(f, &fiber_main);
    fiber_now = f;
    thread_now = t;
}

/* What every fiber does: one thread after the other, then it waits for the next block. */
inline void run_threads()
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &fiber_main.stack, &fiber_main.bytes);
#endif
    for (;;) {
        fiber *me = fiber_now;
        fiber_block *b = block_now;
        while (b->next < b->n) {
            unsigned i = b->next++;
            thread_now = me->runs = &b->threads[b->order == REVERSE ? b->n - 1 - i : i];
            b->body(b->arg);
            b->alive--;
            b->warps[me->runs->warp].alive--;
        }
        me->runs = nullptr;
        switch_to(me, &fiber_main);
    }
}

inline fiber::~fiber()
{
    if (map)
        munmap(map, bytes + guard_bytes);
}

inline fiber *fiber_number(size_t k)
{
    if (k < fibers.size())
        return fibers[k].get();
    std::unique_ptr<fiber> f(new fiber);
    void *map = mmap(nullptr, stack_bytes + guard_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, guard_bytes, PROT_NONE))
        die("no memory for a stack");
    f->map = map;
    f->stack = static_cast<char *>(map) + guard_bytes;
    f->bytes = stack_bytes;
#ifdef __x86_64__
    void **sp = reinterpret_cast<void **>(static_cast<char *>(map) + guard_bytes + stack_bytes);
    *--sp = nullptr; /* nobody returns to here */
    *--sp = reinterpret_cast<void *>(run_threads);
    for (int kept = 0; kept < 6; kept++)
        *--sp = nullptr;
    f->sp = sp;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = static_cast<char *>(map) + guard_bytes;
    f->context.uc_stack.ss_size = stack_bytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, run_threads, 0);
#endif
    fibers.push_back(std::move(f));
    return fibers.back().get();
}

/* ---- a block ---- */

/* Opens every barrier at which all that are alive have arrived. */
inline void open_barriers(fiber_block *b)
{
    if (b->arrived && b->arrived == b->alive) {
        b->arrived = 0;
        for (fiber_thread &t : b->threads)
            if (t.waits == WAITS_FOR_BLOCK)
                t.waits = GOES_ON;
    }
    for (size_t w = 0; w < b->warps.size(); w++) {
        fiber_warp &warp = b->warps[w];
        if (!warp.arrived || warp.arrived != warp.alive)
            continue;
        warp.arrived = 0;
        for (unsigned l = 0; l < warp.lanes; l++)
            if (b->threads[w * warp_size + l].waits == WAITS_FOR_WARP)
                b->threads[w * warp_size + l].waits = GOES_ON;
    }
}

inline void begin_block(fiber_block *b)
{
    b->next = b->arrived = 0;
    b->alive = b->n;
    for (unsigned i = 0; i < b->n; i++)
        static_cast<thread &>(b->threads[i]) = thread_of(i, b->block);
    for (unsigned i = 0; i < b->n; i++)
        b->threads[i].waits = GOES_ON;
    for (size_t w = 0; w < b->warps.size(); w++) {
        unsigned left = b->n - (unsigned)w * warp_size;
        unsigned lanes = left < warp_size ? left : warp_size;
        b->warps[w] = {{}, lanes, lanes, 0};
    }
    std::memset(static_cast<void *>(b->shared.get()), 0xa5, b->shared_bytes);
}

/* Lets every thread that may go on do so; false: none may. */
inline bool run_round(fiber_block *b, size_t used)
{
    bool any = false;
    size_t turn = 0;
    if (b->order == RANDOM) {
        b->random = b->random * 6364136223846793005u + 1442695040888963407u;
        turn = (size_t)(b->random >> 33) % used;
    }
    for (size_t k = 0; k < used; k++) {
        fiber *f = fibers[b->order == REVERSE ? used - 1 - k : (k + turn) % used].get();
        if (!f->runs || f->runs->waits != GOES_ON)
            continue;
        any = true;
        fiber_now = f;
        thread_now = f->runs;
        switch_to(&fiber_main, f);
    }
    return any;
}

inline void run_block(fiber_block *b)
{
    size_t used = 0;
    begin_block(b);
    while (b->next < b->n) {
        fiber_now = fiber_number(used++);
        switch_to(&fiber_main, fiber_now);
    }
    while (b->alive) {
        open_barriers(b);
        if (!run_round(b, used))
            die("threads wait at different barriers");
    }
    thread_now = nullptr;
}

inline void sync_block()
{
    thread_now->waits = WAITS_FOR_BLOCK;
    block_now->arrived++;
    pause();
}

inline void sync_warp()
{
    thread_now->waits = WAITS_FOR_WARP;
    block_now->warps[thread_now->warp].arrived++;
    pause();
}

inline enum order order_asked_for()
{
    const char *name = std::getenv("EMU_ORDER");
    return !name                        ? FORWARD
           : !std::strcmp(name, "rev")  ? REVERSE
           : !std::strcmp(name, "rand") ? RANDOM
                                        : FORWARD;
}

template <class Body> void launch(dim3 grid, dim3 block, size_t shared_bytes, Body body)
{
    check_launch(grid, block);
    fiber_block b = {};
    b.grid = grid;
    b.block = block;
    b.n = block.x * block.y * block.z;
    b.threads.resize(b.n);
    b.warps.resize((b.n + warp_size - 1) / warp_size);
    b.shared_bytes = shared_bytes;
    b.shared.reset(new uint4[shared_bytes / sizeof(uint4) + 1]);
    b.body = [](void *arg) { (*static_cast<Body *>(arg))(); };
    b.arg = &body;
    b.order = order_asked_for();
    b.random = 42;
    block_now = &b;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks; i++) {
        b.bid = block_of(b.order == REVERSE ? blocks - 1 - i : i, grid);
        run_block(&b);
    }
    block_now = nullptr;
}
} // namespace emu

#endif
