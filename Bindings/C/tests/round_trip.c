// The round trip of 64 bytes between two processes that poll, and messages per second one way: round_trip [COUNT]. Scripts/c-cost.sh holds
// it to Swift's in the same run.
#define _GNU_SOURCE
#include <inttypes.h>
#include <ipc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static ipc_error error = IPC_ERROR_INIT;
#define OK(call)                                 \
    do {                                         \
        if ((call) != IPC_OK) {                  \
            fprintf(stderr, "%s\n", error.text); \
            exit(1);                             \
        }                                        \
    } while (0)

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int compare(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return a < b ? -1 : a > b;
}

static const char *schema = "{\"message\":{\"array\":{\"count\":8,\"of\":\"u64\"}}}";
enum { SIZE = 64, BURST = 256 };

static void open_both(const char *to, const char *from, ipc_writer **writer, ipc_reader **reader) {
    ipc_options options = IPC_OPTIONS_INIT;
    options.writers = IPC_WRITERS_EXCLUSIVE;
    ipc_channel *channel;
    OK(ipc_open_or_create(IPC_TOPIC, from, schema, &options, &channel, &error));
    ipc_reader_options polling = IPC_READER_OPTIONS_INIT;
    polling.spins = -1;
    OK(ipc_reader_open(channel, &polling, reader, &error));
    ipc_channel_close(channel);
    OK(ipc_open_or_create(IPC_TOPIC, to, schema, &options, &channel, &error));
    OK(ipc_writer_open(channel, writer, &error));
    ipc_channel_close(channel);
}

static int echo(uint64_t count, uint64_t messages) {
    ipc_writer *writer;
    ipc_reader *reader;
    pin(1);
    open_both("cost/back", "cost/there", &writer, &reader);
    char ready = 1, message[SIZE];
    if (write(1, &ready, 1) != 1) return 1;
    size_t size;
    for (uint64_t index = 0; index < count; index++) {
        OK(ipc_receive(reader, message, SIZE, &size, IPC_FOREVER, &error));
        OK(ipc_write(writer, message, SIZE, IPC_FOREVER, &error));
    }
    for (uint64_t index = 0; index < messages; index++) OK(ipc_receive(reader, message, SIZE, &size, IPC_FOREVER, &error));
    OK(ipc_write(writer, message, SIZE, IPC_FOREVER, &error));
    static char many[BURST * SIZE];
    for (uint64_t left = messages; left > 0;) {
        size_t received;
        OK(ipc_receive_many(reader, many, left < BURST ? left : BURST, &received, IPC_FOREVER, &error));
        left -= received;
    }
    OK(ipc_write(writer, message, SIZE, IPC_FOREVER, &error));
    return 0;
}

int main(int argc, char **argv) {
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000, messages = 20 * count;
    if (argc > 2) return echo(count, messages);
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, count);
    int pipes[2];
    if (pipe(pipes) != 0) return 1;
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], 1);
        execl("/proc/self/exe", "round_trip", text, "echo", (char *)NULL);
        _exit(1);
    }
    ipc_writer *writer;
    ipc_reader *reader;
    pin(0);
    open_both("cost/there", "cost/back", &writer, &reader);
    char ready;
    if (read(pipes[0], &ready, 1) != 1) return 1;
    char message[SIZE] = {0};
    size_t size;
    uint64_t *times = malloc(count * sizeof *times);
    for (uint64_t index = 0; index < count; index++) {
        uint64_t start = now();
        OK(ipc_write(writer, message, SIZE, IPC_FOREVER, &error));
        OK(ipc_receive(reader, message, SIZE, &size, IPC_FOREVER, &error));
        times[index] = now() - start;
    }
    qsort(times, count, sizeof *times, compare);
    uint64_t start = now();
    for (uint64_t index = 0; index < messages; index++) OK(ipc_write(writer, message, SIZE, IPC_FOREVER, &error));
    OK(ipc_receive(reader, message, SIZE, &size, IPC_FOREVER, &error));
    double single = (double)messages * 1e3 / (double)(now() - start);
    static char many[BURST * SIZE];
    start = now();
    for (uint64_t left = messages; left > 0;) {
        size_t written;
        OK(ipc_write_many(writer, many, left < BURST ? left : BURST, &written, IPC_FOREVER, &error));
        left -= written;
    }
    OK(ipc_receive(reader, message, SIZE, &size, IPC_FOREVER, &error));
    double batched = (double)messages * 1e3 / (double)(now() - start);
    printf("%" PRIu64 " %.2f %.2f\n", times[count / 2], single, batched);
    waitpid(child, NULL, 0);
    free(times);
    return 0;
}
