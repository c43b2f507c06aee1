// Every call of ipc.h, as it should be used and as it should not: no call may trap or end the process. Prints "right" at the end.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <ipc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static ipc_error error = IPC_ERROR_INIT;
// This program; under valgrind /proc/self/exe is another.
static const char *program;

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            printf("line %d: %s; the last error is %s\n", __LINE__, #condition, error.text);          \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)
#define OK(call) CHECK((call) == IPC_OK)

static const char quotes[] =
    "{\"message\":{\"struct\":{\"name\":\"Quote\",\"size\":16,\"alignment\":8,\"fields\":["
    "{\"name\":\"symbol\",\"offset\":0,\"type\":\"u64\"},{\"name\":\"price\",\"offset\":8,\"type\":\"f64\"}]}}}";
struct quote {
    uint64_t symbol;
    double price;
};

static void topics(void) {
    ipc_options options = IPC_OPTIONS_INIT;
    options.capacity = 65536;
    ipc_channel *channel;
    OK(ipc_create(IPC_TOPIC, "c/quotes", quotes, &options, &channel, &error));
    CHECK(ipc_channel_pattern(channel) == IPC_TOPIC && ipc_channel_message_size(channel) == 16);
    CHECK(strcmp(ipc_channel_schema(channel), quotes) == 0 && strcmp(ipc_channel_name(channel), "c/quotes") == 0);
    ipc_channel *other;
    CHECK(ipc_create(IPC_TOPIC, "c/quotes", quotes, &options, &other, &error) == IPC_ALREADY_EXISTS && other == NULL);
    CHECK(ipc_open_or_create(IPC_QUEUE, "c/quotes", NULL, NULL, &other, &error) == IPC_WRONG_TYPE);
    CHECK(ipc_open_or_create(IPC_TOPIC, "c/quotes", "{\"message\":\"u64\"}", NULL, &other, &error) == IPC_WRONG_TYPE);
    CHECK(strstr(error.text, "it is Quote, and UInt64 in this program") != NULL);
    options.capacity = 1 << 20;
    CHECK(ipc_open_or_create(IPC_TOPIC, "c/quotes", NULL, &options, &other, &error) == IPC_INCOMPATIBLE_OPTIONS);
    OK(ipc_open("c/quotes", NULL, IPC_NOW, &other, &error));

    ipc_reader *reader, *watcher;
    ipc_writer *writer;
    ipc_reader_options watching = IPC_READER_OPTIONS_INIT;
    watching.observe = 1;
    OK(ipc_reader_open(other, NULL, &reader, &error));
    OK(ipc_reader_open(channel, &watching, &watcher, &error));
    OK(ipc_writer_open(channel, &writer, &error));
    ipc_channel_close(other);
    struct quote quote = {7, 12.5}, got;
    size_t count = 0;
    CHECK(ipc_receive(reader, &got, sizeof got, &count, IPC_NOW, &error) == IPC_TIMED_OUT);
    CHECK(ipc_receive(reader, &got, sizeof got, &count, 20000000, &error) == IPC_TIMED_OUT && error.code == IPC_TIMED_OUT);
    CHECK(ipc_write(writer, &quote, 15, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "16 bytes") != NULL);
    OK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error));
    CHECK(ipc_receive(reader, &got, 8, &count, IPC_NOW, &error) == IPC_MESSAGE_TOO_LARGE && count == 16);
    OK(ipc_receive(reader, &got, sizeof got, &count, IPC_FOREVER, &error));
    CHECK(count == 16 && got.symbol == 7 && got.price == 12.5);
    OK(ipc_receive(watcher, &got, sizeof got, &count, 1000000000, &error));

    // Sizes of all kinds, next to each other.
    ipc_channel *bytes_channel;
    ipc_reader *bytes_reader;
    ipc_writer *bytes_writer;
    OK(ipc_open_or_create(IPC_TOPIC, "c/sizes", "\"bytes\"", NULL, &bytes_channel, &error));
    OK(ipc_reader_open(bytes_channel, NULL, &bytes_reader, &error));
    OK(ipc_writer_open(bytes_channel, &bytes_writer, &error));
    static unsigned char pattern[1500], copy[1502];
    for (size_t index = 0; index < sizeof pattern; index++) pattern[index] = (unsigned char)(index * 7 + index / 256 + 1);
    for (size_t size = 0; size <= sizeof pattern; size += size < 600 ? 1 : 100) {
        OK(ipc_write(bytes_writer, pattern + sizeof pattern - size, size, IPC_NOW, &error));
        memset(copy, 0, sizeof copy);
        OK(ipc_receive(bytes_reader, copy + 1, size, &count, IPC_NOW, &error));
        CHECK(count == size && memcmp(copy + 1, pattern + sizeof pattern - size, size) == 0 && copy[0] == 0 && copy[size + 1] == 0);
    }
    ipc_writer_close(bytes_writer);
    ipc_reader_close(bytes_reader);
    ipc_channel_close(bytes_channel);

    // In place.
    void *room;
    OK(ipc_reserve(writer, 16, &room, IPC_FOREVER, &error));
    CHECK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_commit(writer, 17, &error) == IPC_INVALID_ARGUMENT);
    memcpy(room, &quote, sizeof quote);
    OK(ipc_commit(writer, 16, &error));
    CHECK(ipc_commit(writer, 16, &error) == IPC_INVALID_ARGUMENT && ipc_abandon(writer, &error) == IPC_INVALID_ARGUMENT);
    OK(ipc_reserve(writer, 16, &room, IPC_FOREVER, &error));
    OK(ipc_abandon(writer, &error));
    const void *bytes;
    CHECK(ipc_release(reader, &error) == IPC_INVALID_ARGUMENT);
    OK(ipc_borrow(reader, &bytes, &count, IPC_FOREVER, &error));
    CHECK(count == 16 && memcmp(bytes, &quote, 16) == 0);
    OK(ipc_release(reader, &error));
    CHECK(ipc_borrow(reader, &bytes, &count, IPC_NOW, &error) == IPC_TIMED_OUT);

    // Many.
    struct quote all[1000], back[1000];
    for (int index = 0; index < 1000; index++) all[index] = (struct quote){(uint64_t)index, index / 2.0};
    size_t written, received;
    OK(ipc_write_many(writer, all, 1000, &written, IPC_FOREVER, &error));
    CHECK(written == 1000);
    OK(ipc_receive_many(reader, back, 600, &received, IPC_FOREVER, &error));
    CHECK(received == 600);
    OK(ipc_receive_many(reader, back + 600, 600, &received, IPC_FOREVER, &error));
    CHECK(received == 400 && memcmp(all, back, sizeof all) == 0);
    CHECK(ipc_receive_many(reader, back, 1, &received, IPC_NOW, &error) == IPC_TIMED_OUT && received == 0);
    // Full: what fits is written.
    int32_t code;
    size_t total = 0;
    while ((code = ipc_write_many(writer, all, 1000, &written, IPC_NOW, &error)) == IPC_OK) total += written;
    CHECK(code == IPC_TIMED_OUT && total + written > 500 && ipc_missed(reader) == 0);

    // JSON.
    char *json;
    OK(ipc_to_json(channel, &quote, sizeof quote, &json, &error));
    CHECK(strcmp(json, "{\"symbol\":7,\"price\":12.5}") == 0);
    void *parsed;
    OK(ipc_from_json(channel, json, &parsed, &count, &error));
    CHECK(count == 16 && memcmp(parsed, &quote, 16) == 0);
    ipc_free(parsed);
    ipc_free(json);
    CHECK(ipc_from_json(channel, "{\"symbol\":-1}", &parsed, &count, &error) == IPC_INVALID_ARGUMENT);
    CHECK(strstr(error.text, "symbol is -1") != NULL);
    OK(ipc_describe("c/quotes", NULL, &json, &error));
    static const char *const keys[] = {
        "name", "pattern", "type", "message-size", "writers", "overflow", "kept", "durable", "permissions", "subscriber-permissions",
        "capacity", "position", "published", "messages", "taken", "notices", "set-aside", "bytes-occupied", "bytes-set-aside",
        "bytes-done", "attempts", "backoff", "maximum-waiting", "redeliveries", "recoveries", "participants",
    };
    for (size_t index = 0; index < sizeof keys / sizeof keys[0]; index++) {
        char key[40];
        snprintf(key, sizeof key, "\"%s\":", keys[index]);
        CHECK(strstr(json, key) != NULL);
    }
    CHECK(strstr(json, "\"pattern\":\"topic\"") != NULL && strstr(json, "\"writers\":\"exclusive\"") != NULL);
    ipc_free(json);

    // A child of fork has no part in it.
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int32_t one = ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error);
        ipc_writer_close(writer);
        _exit(one == IPC_INHERITED ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);

    // What is reserved goes with its writer.
    while (ipc_receive_many(reader, back, 1000, &received, IPC_NOW, &error) == IPC_OK) {}
    OK(ipc_reserve(writer, 16, &room, IPC_FOREVER, &error));
    ipc_writer_close(writer);
    OK(ipc_writer_open(channel, &writer, &error));
    OK(ipc_write(writer, &quote, sizeof quote, IPC_FOREVER, &error));
    OK(ipc_receive(reader, &got, sizeof got, &count, 1000000000, &error));

    // Handles that were closed, or are of another kind.
    ipc_writer_close(writer);
    CHECK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_receive((ipc_reader *)writer, &got, sizeof got, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_receive((ipc_reader *)channel, &got, sizeof got, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    ipc_writer_close(writer);
    OK(ipc_remove("c/quotes", NULL, &error));
    CHECK(ipc_receive(reader, &got, sizeof got, &count, IPC_FOREVER, &error) == IPC_REMOVED);
    ipc_reader_close(reader);
    ipc_reader_close(watcher);
    ipc_channel_close(channel);
    ipc_channel_close(channel);
    CHECK(ipc_channel_name(channel) == NULL && ipc_channel_schema(channel) == NULL && ipc_channel_pattern(channel) == 0);
}

// What was removed says so to whoever writes to it, and goes on doing so.
static void removals(void) {
    for (int writers = IPC_WRITERS_EXCLUSIVE; writers <= IPC_WRITERS_SHARED; writers++) {
        for (int waits = 0; waits < 2; waits++) {
            ipc_options options = IPC_OPTIONS_INIT;
            options.writers = writers;
            ipc_channel *channel;
            OK(ipc_create(IPC_TOPIC, "c/gone", "\"u64\"", &options, &channel, &error));
            ipc_writer *all[2] = {NULL, NULL};
            ipc_reader *reader;
            OK(ipc_reader_open(channel, NULL, &reader, &error));
            for (int index = 0; index < writers; index++) OK(ipc_writer_open(channel, &all[index], &error));
            uint64_t value = 7, many[100] = {0};
            for (int index = 0; index < writers; index++) OK(ipc_write(all[index], &value, 8, IPC_NOW, &error));
            OK(ipc_remove("c/gone", NULL, &error));
            int64_t timeout = waits ? IPC_FOREVER : IPC_NOW;
            for (int index = 0; index < writers; index++) {
                (void)ipc_write(all[index], &value, 8, timeout, &error);
                for (int count = 0; count < 2000; count++) CHECK(ipc_write(all[index], &value, 8, timeout, &error) == IPC_REMOVED);
                CHECK(strstr(error.text, "c/gone") != NULL);
                size_t written = 5;
                CHECK(ipc_write_many(all[index], many, 100, &written, timeout, &error) == IPC_REMOVED && written == 0);
            }
            for (int index = 0; index < writers; index++) ipc_writer_close(all[index]);
            ipc_reader_close(reader);
            ipc_channel_close(channel);
        }
    }
    ipc_channel *channel;
    ipc_writer *producer;
    OK(ipc_create(IPC_QUEUE, "c/gone-jobs", NULL, NULL, &channel, &error));
    OK(ipc_writer_open(channel, &producer, &error));
    OK(ipc_write(producer, "a", 1, IPC_NOW, &error));
    OK(ipc_remove("c/gone-jobs", NULL, &error));
    (void)ipc_write(producer, "a", 1, IPC_NOW, &error);
    for (int count = 0; count < 2000; count++) CHECK(ipc_write(producer, "a", 1, IPC_NOW, &error) == IPC_REMOVED);
    ipc_writer_close(producer);
    ipc_channel_close(channel);
    (void)ipc_remove("c/gone-jobs/dead-letters", NULL, NULL);
}

// Options that have no effect are errors, which name them.
static void options(void) {
    ipc_channel *channel;
    ipc_options given = IPC_OPTIONS_INIT;
    given.capacity = 1 << 17;
    OK(ipc_create(IPC_TOPIC, "c/options", NULL, &given, &channel, &error));
    ipc_channel *other = channel;
    CHECK(ipc_open("c/options", &given, IPC_NOW, &other, &error) == IPC_INVALID_ARGUMENT && other == NULL);
    CHECK(strstr(error.text, "capacity") != NULL && strstr(error.text, "c/options") != NULL);
    ipc_options some = IPC_OPTIONS_INIT;
    some.maximum_attempts = 3;
    CHECK(ipc_open("c/options", &some, IPC_NOW, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "maximum_attempts") != NULL);
    CHECK(ipc_create(IPC_TOPIC, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT);
    CHECK(strstr(error.text, "maximumAttempts") != NULL && strstr(error.text, "c/new") != NULL);
    CHECK(ipc_open_or_create(IPC_SERVICE, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT);
    some = (ipc_options)IPC_OPTIONS_INIT;
    some.maximum_waiting = 3;
    CHECK(ipc_create(IPC_QUEUE, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "maximumWaiting") != NULL);
    some = (ipc_options)IPC_OPTIONS_INIT;
    some.capacity = 1 << 20;
    CHECK(ipc_create(IPC_EVENT, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "capacity") != NULL);
    CHECK(ipc_open_or_create(IPC_TOPIC, "c/options", NULL, &some, &other, &error) == IPC_INCOMPATIBLE_OPTIONS);
    CHECK(strstr(error.text, "capacity 131072") != NULL);
    some = (ipc_options)IPC_OPTIONS_INIT;
    some.sync_bytes = 4096;
    CHECK(ipc_create(IPC_TOPIC, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "sync_bytes") != NULL);
    some = (ipc_options)IPC_OPTIONS_INIT;
    some.overflow = IPC_BLOCK;
    CHECK(ipc_create(IPC_LATEST, "c/new", NULL, &some, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "overflow") != NULL);
    some.overflow = IPC_OVERWRITE;
    OK(ipc_create(IPC_LATEST, "c/new", "\"u64\"", &some, &other, &error));
    CHECK(strcmp(ipc_channel_schema(other), "{\"message\":\"u64\"}") == 0);
    ipc_channel_close(other);
    OK(ipc_remove("c/new", NULL, &error));
    CHECK(ipc_create(IPC_TOPIC, "c/new", "\"u65\"", NULL, &other, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "c/new") != NULL);
    ipc_channel_close(channel);
    OK(ipc_remove("c/options", NULL, &error));
}

static void queues(void) {
    ipc_options options = IPC_OPTIONS_INIT;
    options.maximum_attempts = 2;
    options.lifetime = IPC_WHILE_USED;
    ipc_channel *channel;
    OK(ipc_open_or_create(IPC_QUEUE, "c/jobs", NULL, &options, &channel, &error));
    ipc_reader *reader;
    ipc_writer *writer;
    OK(ipc_writer_open(channel, &writer, &error));
    CHECK(ipc_send(writer, "no", 2, 0, -1, 1, IPC_NOW, &error) == IPC_NOT_READY);
    OK(ipc_reader_open(channel, NULL, &reader, &error));
    OK(ipc_write(writer, "one", 3, IPC_NOW, &error));
    ipc_message *job;
    size_t count;
    OK(ipc_take(reader, &job, IPC_NOW, &error));
    CHECK(memcmp(ipc_message_bytes(job, &count), "one", 4) == 0 && count == 3 && ipc_message_attempt(job) == 1);
    OK(ipc_reject(job, 0, &error));
    CHECK(ipc_message_bytes(job, &count) == NULL && count == 0 && ipc_acknowledge(job, &error) == IPC_INVALID_ARGUMENT);
    OK(ipc_take(reader, &job, 1000000000, &error));
    CHECK(ipc_message_attempt(job) == 2);
    OK(ipc_give_back(job, &error));
    OK(ipc_take(reader, &job, 1000000000, &error));
    CHECK(ipc_message_attempt(job) == 2 && ipc_message_is_cancelled(job) == 0);
    OK(ipc_acknowledge(job, &error));
    OK(ipc_send(writer, "late", 4, 50000000, -1, 1, IPC_NOW, &error));
    CHECK(ipc_take(reader, &job, IPC_NOW, &error) == IPC_TIMED_OUT);
    OK(ipc_take(reader, &job, INT64_C(5000000000), &error));
    CHECK(ipc_reply(job, "x", 1, &error) == IPC_WRONG_TYPE);
    char buffer[8];
    CHECK(ipc_receive(reader, buffer, 8, &count, IPC_NOW, &error) == IPC_WRONG_TYPE);
    CHECK(ipc_wait(reader, IPC_NOW, &error) == IPC_WRONG_TYPE);
    CHECK(ipc_wait_since(reader, 0, IPC_NOW, &error) == IPC_WRONG_TYPE && ipc_round(reader) == 0 && ipc_round(NULL) == 0);
    ipc_reader_close(reader);
    ipc_writer_close(writer);
    ipc_channel_close(channel);
    ipc_remove("c/jobs/dead-letters", NULL, NULL);
}

static void services(void) {
    ipc_channel *channel;
    OK(ipc_open_or_create(IPC_SERVICE, "c/echo", NULL, NULL, &channel, &error));
    ipc_writer *client;
    OK(ipc_writer_open(channel, &client, &error));
    ipc_reply_result *result;
    CHECK(ipc_call(client, "x", 1, 100, 0, 1, &result, IPC_FOREVER, &error) == IPC_NOT_READY && result == NULL);
    CHECK(ipc_call(client, "x", 1, 100, 0, 0, &result, 20000000, &error) == IPC_TIMED_OUT);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        // The child has a part of its own, once it has opened the channel itself.
        execl(program, "interface", "serve", (char *)NULL);
        _exit(1);
    }
    size_t count;
    OK(ipc_call(client, "abc", 3, 100, 0, 0, &result, INT64_C(20000000000), &error));
    CHECK(memcmp(ipc_result_bytes(result, &count), "abc", 3) == 0 && count == 3 && !ipc_result_is_failure(result));
    ipc_result_free(result);
    ipc_result_free(result);
    CHECK(ipc_result_bytes(result, &count) == NULL);
    OK(ipc_call(client, "no", 2, 100, 0, 0, &result, INT64_C(20000000000), &error));
    CHECK(ipc_result_is_failure(result));
    ipc_result_free(result);
    // There is room for a failure in any case.
    OK(ipc_call(client, "abc", 3, 0, 0, 0, &result, INT64_C(20000000000), &error));
    ipc_result_free(result);
    CHECK(ipc_call(client, "abcde", 5, 1, 0, 0, &result, INT64_C(20000000000), &error) == IPC_MESSAGE_TOO_LARGE && result == NULL);
    CHECK(ipc_call(client, "none", 4, 9, 0, 0, &result, INT64_C(20000000000), &error) == IPC_BROKEN_PIPE);

    // Several calls at once.
    ipc_pending_call *calls[4];
    for (size_t index = 0; index < 4; index++) {
        OK(ipc_call_begin(client, "abcdef", 3 + index % 2, 100, 0, 0, &calls[index], INT64_C(20000000000), &error));
    }
    for (size_t index = 4; index-- > 1;) {
        OK(ipc_call_wait(calls[index], &result, IPC_FOREVER, &error));
        CHECK(memcmp(ipc_result_bytes(result, &count), "abcdef", 3 + index % 2) == 0 && count == 3 + index % 2);
        ipc_result_free(result);
        CHECK(ipc_call_wait(calls[index], &result, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && result == NULL);
        ipc_call_cancel(calls[index]);
    }
    ipc_call_cancel(calls[0]);
    ipc_call_cancel(calls[0]);
    ipc_call_cancel(NULL);
    // One that takes its time.
    ipc_descriptor *descriptor;
    OK(ipc_descriptor_open(NULL, &descriptor, &error));
    OK(ipc_call_begin(client, "wait", 4, 100, 0, 0, &calls[0], INT64_C(20000000000), &error));
    CHECK(ipc_call_wait(calls[0], &result, IPC_NOW, &error) == IPC_TIMED_OUT && result == NULL && strstr(error.text, "c/echo") != NULL);
    CHECK(ipc_call_wait(calls[0], &result, 1000000, &error) == IPC_TIMED_OUT);
    int32_t is_ready;
    OK(ipc_call_arm(calls[0], descriptor, &is_ready, &error));
    struct pollfd file = {ipc_descriptor_file(descriptor), POLLIN, 0};
    CHECK(is_ready == 0);
    CHECK(poll(&file, 1, 20000) == 1);
    OK(ipc_descriptor_clear(descriptor, &error));
    OK(ipc_call_wait(calls[0], &result, IPC_NOW, &error));
    CHECK(memcmp(ipc_result_bytes(result, &count), "wait", 4) == 0);
    ipc_result_free(result);
    ipc_descriptor_close(descriptor);
    // Its own time passes first.
    OK(ipc_call_begin(client, "wait", 4, 100, 0, 0, &calls[0], 1000000, &error));
    CHECK(ipc_call_wait(calls[0], &result, IPC_FOREVER, &error) == IPC_TIMED_OUT);
    ipc_call_cancel(calls[0]);
    CHECK(ipc_call_wait(calls[0], &result, IPC_FOREVER, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_call(client, "die", 3, 9, 0, 0, &result, INT64_C(20000000000), &error) == IPC_BROKEN_PIPE);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    ipc_writer_close(client);
    ipc_channel_close(channel);
}

// Answers have the sizes of their types.
static void typed_services(void) {
    ipc_channel *channel;
    OK(ipc_create(IPC_SERVICE, "c/typed", "{\"request\":\"u64\",\"reply\":\"u64\",\"failure\":\"u8\"}", NULL, &channel, &error));
    ipc_writer *client;
    ipc_reader *server;
    OK(ipc_writer_open(channel, &client, &error));
    OK(ipc_reader_open(channel, NULL, &server, &error));
    uint64_t number = 9;
    ipc_pending_call *pending;
    ipc_reply_result *result;
    ipc_message *message;
    size_t count;
    CHECK(ipc_call_begin(client, &number, 7, 0, 0, 0, &pending, IPC_FOREVER, &error) == IPC_INVALID_ARGUMENT && pending == NULL);
    OK(ipc_call_begin(client, &number, 8, 0, 0, 0, &pending, INT64_C(20000000000), &error));
    OK(ipc_take(server, &message, IPC_NOW, &error));
    CHECK(ipc_reply(message, &number, 3, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "8 bytes") != NULL);
    CHECK(ipc_call_wait(pending, &result, IPC_FOREVER, &error) == IPC_BROKEN_PIPE && result == NULL);
    ipc_call_cancel(pending);
    OK(ipc_call_begin(client, &number, 8, 0, 0, 0, &pending, INT64_C(20000000000), &error));
    OK(ipc_take(server, &message, IPC_NOW, &error));
    OK(ipc_reply(message, &number, 8, &error));
    OK(ipc_call_wait(pending, &result, IPC_NOW, &error));
    CHECK(memcmp(ipc_result_bytes(result, &count), &number, 8) == 0 && count == 8 && !ipc_result_is_failure(result));
    ipc_result_free(result);
    ipc_reader_close(server);
    ipc_writer_close(client);
    ipc_channel_close(channel);
}

static int serve(void) {
    ipc_channel *channel;
    OK(ipc_open("c/echo", NULL, IPC_FOREVER, &channel, &error));
    ipc_reader *server;
    OK(ipc_reader_open(channel, NULL, &server, &error));
    for (;;) {
        ipc_message *call;
        OK(ipc_take(server, &call, INT64_C(20000000000), &error));
        size_t count;
        const char *bytes = (const char *)ipc_message_bytes(call, &count);
        if (count == 3 && memcmp(bytes, "die", 3) == 0) _exit(0);
        if (count == 4 && memcmp(bytes, "wait", 4) == 0) (void)poll(NULL, 0, 1000);
        if (count == 4 && memcmp(bytes, "none", 4) == 0) {
            // A failure has four bytes.
            CHECK(ipc_fail(call, "\1", 1, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "4 bytes") != NULL);
        } else if (count == 2) {
            ipc_fail(call, "\1\0\0\0", 4, &error);
        } else {
            ipc_reply(call, bytes, count, &error);
        }
    }
}

static void latest_and_events(void) {
    ipc_channel *channel;
    OK(ipc_open_or_create(IPC_LATEST, "c/value", "{\"message\":\"f64\"}", NULL, &channel, &error));
    ipc_reader *getter;
    ipc_writer *setter;
    OK(ipc_reader_open(channel, NULL, &getter, &error));
    OK(ipc_writer_open(channel, &setter, &error));
    double value = 0;
    size_t count;
    CHECK(ipc_get(getter, &value, sizeof value, &count, &error) == IPC_NOT_FOUND);
    for (int index = 0; index < 3; index++) {
        value = index;
        OK(ipc_write(setter, &value, sizeof value, IPC_NOW, &error));
    }
    CHECK(ipc_receive(getter, &value, 4, &count, IPC_NOW, &error) == IPC_MESSAGE_TOO_LARGE && count == 8);
    OK(ipc_receive(getter, &value, sizeof value, &count, IPC_NOW, &error));
    CHECK(value == 2);
    CHECK(ipc_receive(getter, &value, sizeof value, &count, 20000000, &error) == IPC_TIMED_OUT);
    OK(ipc_get(getter, &value, sizeof value, &count, &error));
    CHECK(value == 2);

    ipc_channel *event;
    OK(ipc_open_or_create(IPC_EVENT, "c/event", NULL, NULL, &event, &error));
    ipc_reader *waiter;
    ipc_writer *notifier;
    OK(ipc_reader_open(event, NULL, &waiter, &error));
    OK(ipc_writer_open(event, &notifier, &error));
    CHECK(ipc_wait(waiter, 20000000, &error) == IPC_TIMED_OUT);
    OK(ipc_notify(notifier, 2, &error));
    OK(ipc_wait(waiter, IPC_NOW, &error));
    OK(ipc_wait(waiter, IPC_NOW, &error));
    OK(ipc_notify_all(notifier, &error));
    // A wait that consists of several calls.
    uint64_t round = ipc_round(waiter);
    CHECK(round == 1);
    CHECK(ipc_wait_since(waiter, round, 20000000, &error) == IPC_TIMED_OUT);
    OK(ipc_notify_all(notifier, &error));
    CHECK(ipc_wait(waiter, IPC_NOW, &error) == IPC_TIMED_OUT);
    OK(ipc_wait_since(waiter, round, IPC_NOW, &error));

    // A foreign loop.
    ipc_descriptor *descriptor;
    OK(ipc_descriptor_open(NULL, &descriptor, &error));
    struct pollfd file = {ipc_descriptor_file(descriptor), POLLIN, 0};
    int32_t is_ready;
    OK(ipc_descriptor_clear(descriptor, &error));
    OK(ipc_arm(getter, descriptor, &is_ready, &error));
    CHECK(is_ready == 0 && poll(&file, 1, 20) == 0);
    value = 9;
    OK(ipc_write(setter, &value, sizeof value, IPC_NOW, &error));
    CHECK(poll(&file, 1, 5000) == 1);
    OK(ipc_descriptor_clear(descriptor, &error));
    OK(ipc_receive(getter, &value, sizeof value, &count, IPC_NOW, &error));
    CHECK(value == 9);
    // Room in a log that is full.
    ipc_options small = IPC_OPTIONS_INIT;
    small.capacity = 65536;
    ipc_channel *topic;
    ipc_reader *reader;
    ipc_writer *writer;
    OK(ipc_create(IPC_TOPIC, "c/full", "\"u64\"", &small, &topic, &error));
    OK(ipc_reader_open(topic, NULL, &reader, &error));
    OK(ipc_writer_open(topic, &writer, &error));
    uint64_t number = 1, numbers[4096];
    OK(ipc_arm_room(writer, 8, descriptor, &is_ready, &error));
    CHECK(is_ready == 1);
    while (ipc_write(writer, &number, 8, IPC_NOW, NULL) == IPC_OK) number++;
    CHECK(ipc_write(writer, &number, 8, IPC_NOW, &error) == IPC_TIMED_OUT && strstr(error.text, "c/full") != NULL);
    CHECK(ipc_arm_room(writer, 7, descriptor, &is_ready, &error) == IPC_INVALID_ARGUMENT && is_ready == 0);
    OK(ipc_arm_room(writer, 8, descriptor, &is_ready, &error));
    CHECK(is_ready == 0 && poll(&file, 1, 20) == 0);
    size_t received;
    OK(ipc_receive_many(reader, numbers, 4096, &received, IPC_NOW, &error));
    CHECK(received == number - 1 && numbers[received - 1] == received && poll(&file, 1, 5000) == 1);
    OK(ipc_write(writer, &number, 8, IPC_NOW, &error));
    OK(ipc_descriptor_clear(descriptor, &error));
    CHECK(ipc_arm_room((ipc_writer *)reader, 8, descriptor, &is_ready, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_arm_room(notifier, 8, descriptor, &is_ready, &error) == IPC_WRONG_TYPE);
    ipc_writer_close(writer);
    ipc_reader_close(reader);
    ipc_channel_close(topic);
    ipc_descriptor_close(descriptor);
    CHECK(ipc_descriptor_file(descriptor) == -1);
    ipc_reader_close(getter);
    ipc_writer_close(setter);
    ipc_reader_close(waiter);
    ipc_writer_close(notifier);
    ipc_channel_close(channel);
    ipc_channel_close(event);
}

static void nonsense(void) {
    ipc_channel *channel = NULL;
    ipc_reader *reader = NULL;
    ipc_writer *writer = NULL;
    ipc_message *message = NULL;
    ipc_reply_result *result = NULL;
    ipc_descriptor *descriptor = NULL;
    ipc_pending_call *pending = NULL;
    size_t count = 0;
    char *json = NULL;
    void *room = NULL;
    const void *bytes = NULL;
    int32_t flag = 0;
    const int32_t codes[] = {
        ipc_open(NULL, NULL, IPC_NOW, &channel, &error), ipc_open("c/none", NULL, IPC_NOW, NULL, &error),
        ipc_open("\xff", NULL, IPC_NOW, &channel, &error), ipc_open("../x", NULL, IPC_NOW, &channel, &error),
        ipc_create((ipc_pattern)77, "c/none", NULL, NULL, &channel, &error),
        ipc_create(IPC_TOPIC, "c/none", "{", NULL, &channel, &error), ipc_create(IPC_TOPIC, NULL, NULL, NULL, &channel, &error),
        ipc_remove(NULL, NULL, &error), ipc_to_json(NULL, "", 0, &json, &error), ipc_from_json(NULL, "1", &room, &count, &error),
        ipc_reader_open(NULL, NULL, &reader, &error), ipc_reader_open(NULL, NULL, NULL, &error),
        ipc_receive(NULL, NULL, 0, NULL, IPC_NOW, &error), ipc_receive((ipc_reader *)1, NULL, 0, NULL, IPC_NOW, &error),
        ipc_borrow(NULL, &bytes, &count, IPC_NOW, &error), ipc_release(NULL, &error),
        ipc_receive_many(NULL, &count, 1, &count, IPC_NOW, &error), ipc_get(NULL, NULL, 0, NULL, &error),
        ipc_wait(NULL, IPC_NOW, &error), ipc_wait_since(NULL, 0, IPC_NOW, &error),
        ipc_take(NULL, &message, IPC_NOW, &error), ipc_take(NULL, NULL, IPC_NOW, &error),
        ipc_acknowledge(NULL, &error), ipc_reject(NULL, -1, &error), ipc_give_back(NULL, &error), ipc_reply(NULL, NULL, 0, &error),
        ipc_fail(NULL, NULL, 0, &error), ipc_writer_open(NULL, &writer, &error), ipc_write(NULL, "", 0, IPC_NOW, &error),
        ipc_write_many(NULL, "", 0, &count, IPC_NOW, &error), ipc_send(NULL, "", 0, 0, 0, 0, IPC_NOW, &error),
        ipc_reserve(NULL, 1, &room, IPC_NOW, &error), ipc_commit(NULL, 0, &error), ipc_abandon(NULL, &error),
        ipc_call(NULL, "", 0, 0, 0, 0, &result, IPC_NOW, &error), ipc_call_begin(NULL, "", 0, 0, 0, 0, &pending, IPC_NOW, &error),
        ipc_call_wait(NULL, &result, IPC_NOW, &error), ipc_call_arm(NULL, NULL, &flag, &error),
        ipc_arm_room(NULL, 0, NULL, &flag, &error), ipc_notify(NULL, 1, &error), ipc_notify_all(NULL, &error),
        ipc_sync(NULL, IPC_NOW, &error), ipc_descriptor_clear(NULL, &error), ipc_arm(NULL, NULL, &flag, &error),
        ipc_descriptor_open(NULL, NULL, &error), ipc_describe(NULL, NULL, &json, &error), ipc_describe("c/none", NULL, NULL, &error),
    };
    for (size_t index = 0; index < sizeof codes / sizeof codes[0]; index++) {
        if (codes[index] != IPC_INVALID_ARGUMENT) {
            printf("call %zu returned %s\n", index, ipc_code_name(codes[index]));
            exit(1);
        }
    }
    CHECK(ipc_open("c/none", NULL, IPC_NOW, &channel, NULL) == IPC_NOT_FOUND);
    CHECK(ipc_open("c/none", NULL, 20000000, &channel, &error) == IPC_TIMED_OUT);
    ipc_options odd = IPC_OPTIONS_INIT;
    odd.writers = 9;
    CHECK(ipc_open("c/none", &odd, IPC_NOW, &channel, &error) == IPC_INVALID_ARGUMENT);
    odd.size = 3;
    CHECK(ipc_open("c/none", &odd, IPC_NOW, &channel, &error) == IPC_INVALID_ARGUMENT);
    ipc_error small = {sizeof(size_t) + 8 + 6, 0, 0, {0}};
    CHECK(ipc_open("c/none", NULL, IPC_NOW, &channel, &small) == IPC_NOT_FOUND && strlen(small.text) == 5 && small.text[6] == 0);
    // Sizes that no memory has.
    OK(ipc_open_or_create(IPC_TOPIC, "c/bytes", NULL, NULL, &channel, &error));
    OK(ipc_writer_open(channel, &writer, &error));
    OK(ipc_reader_open(channel, NULL, &reader, &error));
    CHECK(ipc_write(writer, "", SIZE_MAX, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_write(writer, NULL, 5, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_write(writer, "", SIZE_MAX / 2, IPC_NOW, &error) == IPC_MESSAGE_TOO_LARGE);
    CHECK(ipc_reserve(writer, SIZE_MAX, &room, IPC_NOW, &error) != IPC_OK);
    CHECK(ipc_reserve(writer, SIZE_MAX / 2, &room, IPC_NOW, &error) == IPC_MESSAGE_TOO_LARGE);
    CHECK(ipc_write_many(writer, "", SIZE_MAX, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_receive_many(reader, room, SIZE_MAX, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT);
    CHECK(ipc_receive(reader, NULL, 7, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && strstr(error.text, "c/bytes") != NULL);
    // Nothing is left of what was in output variables.
    char something[8];
    count = 5;
    CHECK(ipc_receive(reader, something, 8, &count, IPC_NOW, &error) == IPC_TIMED_OUT && count == 0 && strstr(error.text, "c/bytes") != NULL);
    count = 5;
    CHECK(ipc_receive(NULL, something, 8, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && count == 0);
    bytes = something;
    count = 5;
    CHECK(ipc_borrow(reader, &bytes, &count, IPC_NOW, &error) == IPC_TIMED_OUT && bytes == NULL && count == 0);
    room = something;
    CHECK(ipc_reserve(NULL, 1, &room, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && room == NULL);
    count = 5;
    CHECK(ipc_receive_many(NULL, something, 1, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && count == 0);
    count = 5;
    CHECK(ipc_write_many(NULL, something, 1, &count, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && count == 0);
    count = 5;
    CHECK(ipc_get(reader, something, 8, &count, &error) == IPC_WRONG_TYPE && count == 0);
    message = (ipc_message *)something;
    CHECK(ipc_take(reader, &message, IPC_NOW, &error) == IPC_WRONG_TYPE && message == NULL);
    result = (ipc_reply_result *)something;
    CHECK(ipc_call(NULL, "", 0, 0, 0, 0, &result, IPC_NOW, &error) == IPC_INVALID_ARGUMENT && result == NULL);
    json = something;
    CHECK(ipc_to_json(NULL, "", 0, &json, &error) == IPC_INVALID_ARGUMENT && json == NULL);
    json = something;
    CHECK(ipc_describe("c/none", NULL, &json, &error) == IPC_NOT_FOUND && json == NULL);
    room = something;
    count = 5;
    CHECK(ipc_from_json(channel, "7", &room, &count, &error) != IPC_OK && room == NULL && count == 0);
    flag = 1;
    CHECK(ipc_arm(reader, NULL, &flag, &error) == IPC_INVALID_ARGUMENT && flag == 0);
    OK(ipc_write(writer, NULL, 0, INT64_MIN, &error));
    OK(ipc_receive(reader, NULL, 0, &count, INT64_MAX, &error));
    ipc_writer_close(writer);
    ipc_reader_close(reader);
    ipc_channel_close(channel);
    // What may be NULL.
    ipc_channel_close(NULL);
    ipc_reader_close(NULL);
    ipc_writer_close(NULL);
    ipc_result_free(NULL);
    ipc_descriptor_close(NULL);
    ipc_free(NULL);
    CHECK(descriptor == NULL && ipc_missed(NULL) == 0 && ipc_message_attempt(NULL) == 0 && ipc_message_is_cancelled(NULL) == 0);
    CHECK(ipc_version() == IPC_VERSION && strcmp(ipc_code_name(IPC_LEASE_LOST), "lease-lost") == 0);
    CHECK(strcmp(ipc_code_name(-5), "failed") == 0 && strcmp(ipc_code_name(IPC_FAILED), "failed") == 0);
}

// Writes a quote of 12 bytes, as only a program does that does not use this library: the length is in the header of 32 bytes before it.
static void write_short(ipc_writer *writer) {
    static struct quote quote = {0x5157494654495043, 1};
    quote.symbol++;
    OK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error));
    char path[4096];
    snprintf(path, sizeof path, "%s/c:short/log", getenv("IPC_ROOT"));
    int file = open(path, O_RDWR);
    struct stat status;
    CHECK(file >= 0 && fstat(file, &status) == 0);
    char *log = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(log != MAP_FAILED);
    int found = 0;
    for (size_t place = 32; place + sizeof quote <= (size_t)status.st_size; place += 32) {
        if (memcmp(log + place, &quote.symbol, sizeof quote.symbol) != 0) continue;
        memcpy(log + place - 24, &(uint32_t){12}, 4);
        found++;
    }
    CHECK(found == 1);
    munmap(log, (size_t)status.st_size);
    close(file);
}

static void wrong_sizes(void) {
    ipc_channel *channel;
    ipc_reader *reader;
    ipc_writer *writer;
    OK(ipc_create(IPC_TOPIC, "c/short", quotes, NULL, &channel, &error));
    OK(ipc_reader_open(channel, NULL, &reader, &error));
    OK(ipc_writer_open(channel, &writer, &error));
    struct quote quote = {7, 12.5}, got[4];
    size_t count;
    const void *bytes;
    for (int way = 0; way < 3; way++) {
        write_short(writer);
        int32_t code = way == 0   ? ipc_receive(reader, got, sizeof *got, &count, IPC_FOREVER, &error)
                       : way == 1 ? ipc_borrow(reader, &bytes, &count, IPC_NOW, &error)
                                  : ipc_receive_many(reader, got, 4, &count, IPC_FOREVER, &error);
        CHECK(code == IPC_CORRUPTED && strstr(error.text, "12 bytes instead of the 16 of Quote") != NULL);
        CHECK(ipc_release(reader, &error) == IPC_INVALID_ARGUMENT);
        CHECK(ipc_receive(reader, got, sizeof *got, &count, IPC_NOW, &error) == IPC_TIMED_OUT);
    }
    // Among others: they are received before and after the error.
    OK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error));
    write_short(writer);
    OK(ipc_write(writer, &quote, sizeof quote, IPC_NOW, &error));
    OK(ipc_receive_many(reader, got, 4, &count, IPC_NOW, &error));
    CHECK(count == 1 && got[0].price == 12.5);
    CHECK(ipc_receive_many(reader, got, 4, &count, IPC_NOW, &error) == IPC_CORRUPTED && count == 0);
    OK(ipc_receive_many(reader, got, 4, &count, IPC_NOW, &error));
    CHECK(count == 1 && got[0].price == 12.5);
    ipc_writer_close(writer);
    ipc_reader_close(reader);
    ipc_channel_close(channel);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "serve") == 0) return serve();
    program = argv[0];
    topics();
    removals();
    options();
    queues();
    services();
    typed_services();
    latest_and_events();
    wrong_sizes();
    nonsense();
    puts("right");
    return 0;
}
