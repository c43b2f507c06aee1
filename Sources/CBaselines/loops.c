// The loops, once for each mechanism, so that no call in them is indirect.
#include "links.h"

#define CB_LOOPS(NAME)                                                                                                 \
    static int ping_##NAME(struct cb_link *link, uint64_t count, uint64_t *samples) {                                  \
        for (uint64_t i = 0; i < count; i++) {                                                                         \
            uint64_t start = cb_now(), index = 0;                                                                      \
            int error = cb_send_##NAME(link, i);                                                                       \
            if (!error) error = cb_receive_##NAME(link, &index);                                                       \
            if (error) return error;                                                                                   \
            if (index == UINT64_MAX) return CB_CORRUPTED;                                                              \
            samples[i] = cb_now() - start;                                                                             \
        }                                                                                                              \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int echo_##NAME(struct cb_link *link, uint64_t count) {                                                     \
        for (uint64_t i = 0; i < count; i++) {                                                                         \
            uint64_t index = 0;                                                                                        \
            int error = cb_receive_##NAME(link, &index);                                                               \
            if (!error && index == UINT64_MAX) error = CB_CORRUPTED;                                                   \
            if (!error) error = cb_send_##NAME(link, i);                                                               \
            if (error) return error;                                                                                   \
        }                                                                                                              \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int produce_##NAME(struct cb_link *link, uint64_t count, uint64_t start, uint64_t interval) {               \
        for (uint64_t i = 0; i < count; i++) {                                                                         \
            if (interval) cb_wait_until(start + i * interval);                                                         \
            int error = cb_send_##NAME(link, i);                                                                       \
            if (error) return error;                                                                                   \
        }                                                                                                              \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int consume_##NAME(struct cb_link *link, uint64_t count, int is_lossy, uint64_t *elapsed,                   \
                              uint64_t *received) {                                                                    \
        uint64_t first = 0, last = 0;                                                                                  \
        *received = 0;                                                                                                 \
        for (uint64_t i = 0; i < count; i++) {                                                                         \
            uint64_t index = 0;                                                                                        \
            int error = cb_receive_##NAME(link, &index);                                                               \
            if (error == ENODATA && is_lossy) break;                                                                   \
            if (error) return error;                                                                                   \
            if (index == UINT64_MAX) return CB_CORRUPTED;                                                              \
            if (i == 0) first = cb_now();                                                                              \
            if (is_lossy) last = cb_now();                                                                             \
            *received += 1;                                                                                            \
        }                                                                                                              \
        if (!is_lossy) last = cb_now();                                                                                \
        *elapsed = last - first;                                                                                       \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int consume_paced_##NAME(struct cb_link *link, uint64_t count, int is_lossy, uint64_t start,                \
                                    uint64_t interval, uint64_t *samples, uint64_t *received) {                        \
        uint64_t base = link->received;                                                                                \
        *received = 0;                                                                                                 \
        for (uint64_t i = 0; i < count; i++) {                                                                         \
            uint64_t index = 0;                                                                                        \
            int error = cb_receive_##NAME(link, &index);                                                               \
            if (error == ENODATA && is_lossy) break;                                                                   \
            if (error) return error;                                                                                   \
            if (index == UINT64_MAX) return CB_CORRUPTED;                                                              \
            if (link->kind == CB_EVENTFD) index -= base;                                                               \
            samples[i] = cb_now() - (start + index * interval);                                                        \
            *received += 1;                                                                                            \
        }                                                                                                              \
        return 0;                                                                                                      \
    }

CB_LOOPS(stream)
CB_LOOPS(socket)
CB_LOOPS(packet)
CB_LOOPS(queue)
CB_LOOPS(signal)
CB_LOOPS(eventfd)
CB_LOOPS(semaphore)
CB_LOOPS(futex)
CB_LOOPS(spin)
CB_LOOPS(log)
CB_LOOPS(shared_log)

#define CB_DISPATCH(LOOP, ...)                                                                                         \
    switch (link->kind) {                                                                                              \
    case CB_STREAM: return LOOP##_stream(__VA_ARGS__);                                                                 \
    case CB_SOCKET: return LOOP##_socket(__VA_ARGS__);                                                                 \
    case CB_PACKET: return LOOP##_packet(__VA_ARGS__);                                                                 \
    case CB_QUEUE: return LOOP##_queue(__VA_ARGS__);                                                                   \
    case CB_SIGNAL: return LOOP##_signal(__VA_ARGS__);                                                                 \
    case CB_EVENTFD: return LOOP##_eventfd(__VA_ARGS__);                                                               \
    case CB_SEMAPHORE: return LOOP##_semaphore(__VA_ARGS__);                                                           \
    case CB_FUTEX: return LOOP##_futex(__VA_ARGS__);                                                                   \
    case CB_SPIN: return LOOP##_spin(__VA_ARGS__);                                                                     \
    case CB_LOG: return LOOP##_log(__VA_ARGS__);                                                                       \
    case CB_SHARED_LOG: return LOOP##_shared_log(__VA_ARGS__);                                                         \
    }                                                                                                                  \
    return EINVAL

int cb_ping(struct cb_link *link, uint64_t count, uint64_t *samples) { CB_DISPATCH(ping, link, count, samples); }
int cb_echo(struct cb_link *link, uint64_t count) { CB_DISPATCH(echo, link, count); }
int cb_produce(struct cb_link *link, uint64_t count) { CB_DISPATCH(produce, link, count, 0, 0); }
int cb_consume(struct cb_link *link, uint64_t count, int is_lossy, uint64_t *elapsed, uint64_t *received) {
    CB_DISPATCH(consume, link, count, is_lossy, elapsed, received);
}
int cb_produce_paced(struct cb_link *link, uint64_t count, uint64_t start, uint64_t interval) {
    CB_DISPATCH(produce, link, count, start, interval);
}
int cb_consume_paced(struct cb_link *link, uint64_t count, int is_lossy, uint64_t start, uint64_t interval,
                     uint64_t *samples, uint64_t *received) {
    CB_DISPATCH(consume_paced, link, count, is_lossy, start, interval, samples, received);
}
