/* swift-ipc for C and C++: the channels of IPCChannels, with all their guarantees.
 *
 *     struct quote { uint32_t symbol; double price; };
 *     ipc_channel *channel;  // its messages should be quotes: ipc_open does not check that, ipc_open_or_create with a schema does
 *     ipc_error error = IPC_ERROR_INIT;
 *     if (ipc_open("market/quotes", NULL, IPC_NOW, &channel, &error) != IPC_OK) { fprintf(stderr, "%s\n", error.text); return 1; }
 *     ipc_reader *reader;
 *     if (ipc_reader_open(channel, NULL, &reader, &error) != IPC_OK) …
 *     struct quote quote;
 *     size_t count;
 *     while (ipc_receive(reader, &quote, sizeof quote, &count, IPC_FOREVER, &error) == IPC_OK) use(&quote);
 *
 * Results. Each call that can fail returns a code, and fills `error`, unless that is NULL, with a sentence that says what to do. No call
 * traps or ends the process: a NULL argument, and a handle that was closed, is IPC_INVALID_ARGUMENT. After any other code than IPC_OK, a
 * pointer that is an output variable is NULL, and a count or a flag is 0, unless the call says what else it is.
 *
 * Participants. A channel is a handle, and no participant: ipc_reader_open and ipc_writer_open join. A channel that is not kept is removed
 * when its last participant leaves, and its messages with it.
 *
 * Threads. All threads may use a channel. A reader, a writer and a message belong to one thread at a time: two threads need a reader or a
 * writer each. A message may be ended by another thread than that of its reader.
 *
 * Time. A time-out is in nanoseconds from now: IPC_NOW tries once and never waits; IPC_FOREVER, or another negative number, has no limit.
 * After a signal's handler, a call continues to wait. A program that is to end by a signal waits with short time-outs, or in its own loop
 * by ipc_descriptor.
 *
 * Processes. A child of fork has no part in its parent's channels: calls there are IPC_INHERITED. Open the channel again after exec.
 *
 * Structures have their size as the first member, which their INIT macro sets, so that they can grow.
 */
#ifndef IPC_H
#define IPC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library: 200 for 0.2.0. */
#define IPC_VERSION 200
int32_t ipc_version(void);

#define IPC_NOW INT64_C(0)
#define IPC_FOREVER INT64_C(-1)

/* What a call returns. */
enum {
    IPC_OK = 0,
    /* There is nothing to receive, or no room, by the time-out. */
    IPC_TIMED_OUT = 1,
    IPC_NOT_FOUND = 2,
    IPC_ALREADY_EXISTS = 3,
    /* The channel has another pattern or another type than was asked for. */
    IPC_WRONG_TYPE = 4,
    /* The channel exists with other options. */
    IPC_INCOMPATIBLE_OPTIONS = 5,
    IPC_PERMISSION_DENIED = 6,
    /* All slots are taken. */
    IPC_LIMIT_REACHED = 7,
    /* Another process is the only writer that the channel may have. */
    IPC_ADDRESS_IN_USE = 8,
    IPC_INVALID_ARGUMENT = 9,
    IPC_MESSAGE_TOO_LARGE = 10,
    /* The channel was removed: open it again. */
    IPC_REMOVED = 11,
    /* The data in shared memory are invalid: no participant writes such data. */
    IPC_CORRUPTED = 12,
    /* Another process has the job now, or the call was ended. */
    IPC_LEASE_LOST = 13,
    /* The server of a call died, or dropped the call. */
    IPC_BROKEN_PIPE = 14,
    /* The service's maximum number of calls is waiting. */
    IPC_OVERLOADED = 15,
    /* A server or a worker is required, and none has joined. */
    IPC_NOT_READY = 16,
    /* In a child of fork. */
    IPC_INHERITED = 17,
    IPC_NO_SPACE = 18,
    IPC_UNSUPPORTED = 19,
    /* Anything else; see the error's text. */
    IPC_FAILED = 99
};

/* The name of a code: "timed-out". Never NULL; it is not freed. */
const char *ipc_code_name(int32_t code);

typedef struct ipc_error {
    size_t size;
    /* As returned. */
    int32_t code;
    /* errno of the failed system call; 0 if there was none. */
    int32_t system_error;
    /* A sentence in UTF-8, cut off if it is longer. */
    char text[1008];
} ipc_error;

#define IPC_ERROR_INIT {sizeof(ipc_error), 0, 0, {0}}

/* ---- Channels ---- */

typedef enum ipc_pattern { IPC_TOPIC = 1, IPC_QUEUE = 2, IPC_SERVICE = 3, IPC_LATEST = 4, IPC_EVENT = 5 } ipc_pattern;

enum { IPC_WRITERS_EXCLUSIVE = 1, IPC_WRITERS_SHARED = 2 };
enum { IPC_BLOCK = 1, IPC_OVERWRITE = 2 };
enum { IPC_WHILE_USED = 1, IPC_KEPT = 2 };
enum { IPC_NOT_DURABLE = 1, IPC_SYNCED_WHEN_ASKED = 2, IPC_SYNCED_EVERY = 3 };

/* Where a channel is, and what it must be like. An option that is 0 or NULL is not compared with those of an existing channel, and has
 * the pattern's default in a new one, the same as in Swift. One that is given and differs is IPC_INCOMPATIBLE_OPTIONS; one that has no
 * effect on the pattern is IPC_INVALID_ARGUMENT. ipc_open takes only `root`: any other is IPC_INVALID_ARGUMENT. */
typedef struct ipc_options {
    size_t size;
    /* The folder of channels; NULL for that of the environment variable IPC_ROOT, or else the user's own, /dev/shm/swift-ipc.UID. */
    const char *root;
    /* IPC_WRITERS_…; the default of a topic and of a latest value is one writer at a time, that of a queue many. Programs that are
     * started several times want IPC_WRITERS_SHARED. A service and an event have no choice. */
    int32_t writers;
    /* Of a topic: what a full log does, IPC_BLOCK or IPC_OVERWRITE. */
    int32_t overflow;
    /* IPC_WHILE_USED or IPC_KEPT. */
    int32_t lifetime;
    /* Of a topic or a queue. */
    int32_t durability;
    /* For IPC_SYNCED_EVERY: after how many bytes. */
    uint64_t sync_bytes;
    /* Bytes of the log. An event has none. */
    uint64_t capacity;
    uint32_t maximum_readers;
    uint32_t maximum_writers;
    /* As for chmod: 0600. */
    uint32_t permissions;
    uint32_t subscriber_permissions;
    /* Of a queue: the number of deliveries after which a job becomes a dead letter. */
    uint32_t maximum_attempts;
    /* Of a service: the number of calls that may wait. */
    uint32_t maximum_waiting;
} ipc_options;

#define IPC_OPTIONS_INIT {sizeof(ipc_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

typedef struct ipc_channel ipc_channel;

/* Opens a channel that exists, with the pattern and the type that it has: check them by ipc_channel_pattern and ipc_channel_schema.
 * Blocks until there is such a channel: IPC_TIMED_OUT if there is none by the time-out, IPC_NOT_FOUND with IPC_NOW. If its last participant
 * leaves before this program joins it, ipc_reader_open and ipc_writer_open are IPC_NOT_FOUND. */
int32_t ipc_open(
    const char *name, const ipc_options *options, int64_t timeout, ipc_channel **channel, ipc_error *error);

/* Creates a channel; it must not exist. `schema` is the JSON of its type, as ipc_channel_schema returns it, such as {"message":"u64"}, or
 * that of its messages alone, such as "u64", with its quotation marks; NULL for bytes, and for an event. Without one, a service is like those of `ipc service serve`: bytes, and an int32_t as failure. */
int32_t ipc_create(
    ipc_pattern pattern, const char *name, const char *schema, const ipc_options *options, ipc_channel **channel,
    ipc_error *error);

/* Opens a channel, and creates it if there is none: for programs that may start in any order. With a schema, an existing one must have
 * the same type, or it is IPC_WRONG_TYPE. Without one, an existing one may have any type, and a new one has bytes. */
int32_t ipc_open_or_create(
    ipc_pattern pattern, const char *name, const char *schema, const ipc_options *options, ipc_channel **channel,
    ipc_error *error);

/* Closes the handle. The channel's readers and writers stay open. NULL is allowed. */
void ipc_channel_close(ipc_channel *channel);

/* Removes a channel, also while it is used: the next call of a participant that waits is IPC_REMOVED. Readers' calls with IPC_NOW find out
 * within 20 ms. For writers see ipc_write. */
int32_t ipc_remove(const char *name, const char *root, ipc_error *error);

/* 0 for a handle that is not open. */
ipc_pattern ipc_channel_pattern(const ipc_channel *channel);
/* The size of each message, or of each request, without the padding that a structure of C may have at its end; 0 if it varies. */
size_t ipc_channel_message_size(const ipc_channel *channel);
/* The name of the channel, and its schema as JSON. Valid until the channel is closed; NULL for a handle that is not open. */
const char *ipc_channel_name(const ipc_channel *channel);
const char *ipc_channel_schema(const ipc_channel *channel);

/* A message as JSON by the channel's schema, and back; of a service, a request. Free the result by ipc_free. */
int32_t ipc_to_json(const ipc_channel *channel, const void *bytes, size_t count, char **json, ipc_error *error);
int32_t ipc_from_json(const ipc_channel *channel, const char *json, void **bytes, size_t *count, ipc_error *error);
void ipc_free(void *memory);

/* ---- Readers: subscriptions, workers, servers, getters, waiters for an event ---- */

typedef struct ipc_reader ipc_reader;

typedef enum ipc_start { IPC_NEXT = 0, IPC_OLDEST = 1, IPC_LAST = 2 } ipc_start;

typedef struct ipc_reader_options {
    size_t size;
    /* The first message of a topic: the next that is published, the oldest in the log, or the last `count` in the log. */
    ipc_start start;
    uint32_t count;
    /* How often to poll before it sleeps; -1 never to sleep, which keeps a processor busy. */
    int32_t spins;
    /* Of a topic or a latest value: 1 to read without joining, which needs the permission to read only. */
    int32_t observe;
} ipc_reader_options;

#define IPC_READER_OPTIONS_INIT {sizeof(ipc_reader_options), IPC_NEXT, 0, 2000, 0}

int32_t ipc_reader_open(
    const ipc_channel *channel, const ipc_reader_options *options, ipc_reader **reader, ipc_error *error);
/* Leaves the channel, as soon as every job or call that was taken is ended. NULL is allowed. */
void ipc_reader_close(ipc_reader *reader);

/* Copies the next message of a topic, or the newest value that was not received yet. `count` gets its size. If that is more than
 * `capacity`, the call is IPC_MESSAGE_TOO_LARGE, `count` has the size, and the message was not received. A message of another size than that
 * of its type is IPC_CORRUPTED, here and in the calls below, and counts as received. Blocks until the time-out. */
int32_t ipc_receive(
    ipc_reader *reader, void *buffer, size_t capacity, size_t *count, int64_t timeout, ipc_error *error);

/* Borrows the next message of a topic in the log, without a copy. The bytes are valid until ipc_release, which has to follow. */
int32_t ipc_borrow(
    ipc_reader *reader, const void **bytes, size_t *count, int64_t timeout, ipc_error *error);
/* Ends ipc_borrow: the message counts as received. */
int32_t ipc_release(ipc_reader *reader, ipc_error *error);

/* Copies messages of a topic of fixed size: waits for one until the time-out, and copies those that are there, at most `limit`. `received`
 * gets their number. Number i is at i * ipc_channel_message_size(channel) of the buffer: structures with padding at their end are not. In the
 * middle of a fast stream it waits up to eight microseconds for more, unless the time-out is 0. */
int32_t ipc_receive_many(
    ipc_reader *reader, void *buffer, size_t limit, size_t *received, int64_t timeout, ipc_error *error);

/* The newest value of a latest value, also if it was received already; IPC_NOT_FOUND if none was set yet. If it has more bytes than
 * `capacity`, the call is IPC_MESSAGE_TOO_LARGE, and `count` has the size. Never blocks. */
int32_t ipc_get(ipc_reader *reader, void *buffer, size_t capacity, size_t *count, ipc_error *error);

/* How many messages were overwritten before they were received, since the previous call. */
uint64_t ipc_missed(ipc_reader *reader);

/* Waits for a notice of an event, and takes it. Blocks until the time-out. */
int32_t ipc_wait(ipc_reader *reader, int64_t timeout, ipc_error *error);

/* For a wait that consists of several calls: a program looks for signals between them, or its loop waits. ipc_round is how often
 * ipc_notify_all was called so far; 0 for a handle that is not open. ipc_wait_since is as ipc_wait, and also ends if ipc_notify_all was called
 * after ipc_round returned `round`. With ipc_arm: call it after that with IPC_NOW, and whenever the descriptor is readable. */
uint64_t ipc_round(ipc_reader *reader);
int32_t ipc_wait_since(ipc_reader *reader, uint64_t round, int64_t timeout, ipc_error *error);

/* ---- Jobs and calls ---- */

typedef struct ipc_message ipc_message;

/* Takes the next job or call. It has to be ended by one of the calls below. Blocks until the time-out. A job of another size than that of
 * the type becomes a dead letter, and the next one is taken. A request of another size is IPC_CORRUPTED, and its caller gets an error. */
int32_t ipc_take(ipc_reader *reader, ipc_message **message, int64_t timeout, ipc_error *error);

/* The job, or the request. Valid until the message is ended; NULL for a handle that is not open. */
const void *ipc_message_bytes(const ipc_message *message, size_t *count);
/* The number of this delivery, from 1 on. */
uint32_t ipc_message_attempt(const ipc_message *message);
/* Of a call: 1 if its caller no longer waits. */
int32_t ipc_message_is_cancelled(const ipc_message *message);

/* The job is done, and is never delivered again. Each of these calls ends the message, whatever it returns: do not use it afterwards. */
int32_t ipc_acknowledge(ipc_message *message, ipc_error *error);
/* The job failed: it is delivered again after `delay` nanoseconds, and the attempt counts; -1 for the queue's own delay. Of a call: its
 * caller gets IPC_BROKEN_PIPE. */
int32_t ipc_reject(ipc_message *message, int64_t delay, ipc_error *error);
/* Gives a job or a call back as if it had never been taken. */
int32_t ipc_give_back(ipc_message *message, ipc_error *error);
/* Answers a call with a reply, whose bytes are of the service's reply type. If their number is another one, the call is
 * IPC_INVALID_ARGUMENT, and its caller gets IPC_BROKEN_PIPE. Never blocks. The same holds for ipc_fail and the type of failures. */
int32_t ipc_reply(ipc_message *message, const void *bytes, size_t count, ipc_error *error);
/* Answers a call with a failure, whose bytes are of the service's failure type. */
int32_t ipc_fail(ipc_message *message, const void *bytes, size_t count, ipc_error *error);

/* ---- Writers: publishers, producers, clients, setters, notifiers of an event ---- */

typedef struct ipc_writer ipc_writer;

int32_t ipc_writer_open(const ipc_channel *channel, ipc_writer **writer, ipc_error *error);
/* Leaves the channel. What was written stays, as long as the channel does. NULL is allowed. */
void ipc_writer_close(ipc_writer *writer);

/* Publishes, sends or sets a copy of `count` bytes. Blocks while there is no room, until the time-out.
 *
 * After ipc_remove, or `ipc rm`, has returned, one more call of each writer may be IPC_OK, although nobody receives that message; all that
 * follow are IPC_REMOVED. Where the files were deleted by other means, as by rm, a writer finds out when it next looks for room, which it
 * does after a 16th of the log at the latest, but not more often than every 20 ms. The same holds for all calls that write. */
int32_t ipc_write(ipc_writer *writer, const void *bytes, size_t count, int64_t timeout, ipc_error *error);

/* Publishes, sends or sets `count` messages of a fixed size; `written` gets the number of those that were, after other codes than IPC_OK,
 * too. The time-out is for all of them. Number i is at
 * i * ipc_channel_message_size(channel): structures with padding at their end are not. */
int32_t ipc_write_many(
    ipc_writer *writer, const void *messages, size_t count, size_t *written, int64_t timeout, ipc_error *error);

/* Sends a job that no worker gets before `delay` nanoseconds, and that is a dead letter after `time_to_live` nanoseconds; -1 for no limit.
 * With `requires_worker` it is IPC_NOT_READY if no worker has joined. */
int32_t ipc_send(
    ipc_writer *writer, const void *bytes, size_t count, int64_t delay, int64_t time_to_live, int32_t requires_worker,
    int64_t timeout, ipc_error *error);

/* Reserves room in a topic's log for a message of at most `capacity` bytes, to be written in place. ipc_commit publishes its first `count`
 * bytes, ipc_abandon gives it up; one of them has to follow. */
int32_t ipc_reserve(ipc_writer *writer, size_t capacity, void **bytes, int64_t timeout, ipc_error *error);
int32_t ipc_commit(ipc_writer *writer, size_t count, ipc_error *error);
int32_t ipc_abandon(ipc_writer *writer, ipc_error *error);

typedef struct ipc_reply_result ipc_reply_result;

/* Calls a service with `count` bytes, and waits for its answer. `reply_limit` is the room for the answer in bytes; a reply or a failure of a
 * fixed size has room in any case, also with 0. `retries` is how often another server may do the call if one dies during it. With
 * `requires_server` it is IPC_NOT_READY if none has joined. IPC_OK is a reply or a failure; one of another size than that of its type is
 * IPC_CORRUPTED. Free the result by ipc_result_free. */
int32_t ipc_call(
    ipc_writer *writer, const void *request, size_t count, size_t reply_limit, uint32_t retries,
    int32_t requires_server, ipc_reply_result **result, int64_t timeout, ipc_error *error);
/* The bytes of the reply, or of the failure, valid until ipc_result_free. */
const void *ipc_result_bytes(const ipc_reply_result *result, size_t *count);
/* 1 if the server answered with a failure. */
int32_t ipc_result_is_failure(const ipc_reply_result *result);
void ipc_result_free(ipc_reply_result *result);

/* A call in progress: many of one writer may be. It stays valid when its writer is closed. One thread at a time may use it, any thread, also
 * another than that of the writer. */
typedef struct ipc_pending_call ipc_pending_call;

/* Begins a call, as ipc_call does, and does not wait for its answer. The time-out is that of the whole call: its server sees when it passes.
 * Blocks only while there is no room in the log, or in this writer's share of it. */
int32_t ipc_call_begin(
    ipc_writer *writer, const void *request, size_t count, size_t reply_limit, uint32_t retries,
    int32_t requires_server, ipc_pending_call **call, int64_t timeout, ipc_error *error);
/* Waits for the answer, until this time-out or that of the call, whichever comes first; with IPC_NOW it only looks. IPC_OK closes `call`, and
 * the result is as that of ipc_call. After any other code `call` is still to be cancelled; after IPC_TIMED_OUT it may be waited for again,
 * unless the call's own time has passed. */
int32_t ipc_call_wait(ipc_pending_call *call, ipc_reply_result **result, int64_t timeout, ipc_error *error);
/* Ends the call and closes the handle: a server that has it sees that nobody waits for it, and its answer is discarded. NULL is allowed, and a
 * call that ipc_call_wait has closed. */
void ipc_call_cancel(ipc_pending_call *call);

/* Ends `count` waits for an event, now or later. */
int32_t ipc_notify(ipc_writer *writer, uint32_t count, ipc_error *error);
/* Ends all waits that are in progress. */
int32_t ipc_notify_all(ipc_writer *writer, ipc_error *error);

/* Waits until all that was published is on the disk. The channel has to be durable. */
int32_t ipc_sync(ipc_writer *writer, int64_t timeout, ipc_error *error);

/* ---- Foreign event loops ---- */

/* A descriptor for poll, epoll or a loop, for any number of readers of one root. Do not close it, and do not read from it. */
typedef struct ipc_descriptor ipc_descriptor;

int32_t ipc_descriptor_open(const char *root, ipc_descriptor **descriptor, ipc_error *error);
void ipc_descriptor_close(ipc_descriptor *descriptor);
/* -1 for a handle that is not open. */
int ipc_descriptor_file(const ipc_descriptor *descriptor);
/* Makes it unreadable again. Then receive what is there, and arm each reader again. */
int32_t ipc_descriptor_clear(ipc_descriptor *descriptor, ipc_error *error);
/* Makes the descriptor readable once, when the reader has something. `is_ready` gets 1 if it has something already: receive that first,
 * and arm again. */
int32_t ipc_arm(ipc_reader *reader, ipc_descriptor *descriptor, int32_t *is_ready, ipc_error *error);
/* The same, when there is room for a message of `count` bytes: then write it with IPC_NOW. Another writer may take the room first. Of a topic,
 * a latest value or a queue; for calls and events there is no such wait. */
int32_t ipc_arm_room(
    ipc_writer *writer, size_t count, ipc_descriptor *descriptor, int32_t *is_ready, ipc_error *error);
/* The same, when a call has an outcome: then ipc_call_wait with IPC_NOW returns it. A call whose time has passed has none: wait with a time-out,
 * too. */
int32_t ipc_call_arm(ipc_pending_call *call, ipc_descriptor *descriptor, int32_t *is_ready, ipc_error *error);

/* ---- Inspecting ---- */

/* All about a channel, and its participants, as JSON on one line: that of `ipc info NAME --format json`. Free it by ipc_free. */
int32_t ipc_describe(const char *name, const char *root, char **json, ipc_error *error);

#ifdef __cplusplus
}
#endif

#endif
