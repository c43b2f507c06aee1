// What a program does that uses libnats itself: the measure of the bridge. Scripts/bridge-rates.sh compiles and runs it.
#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check(natsStatus status, const char *what) {
    if (status == NATS_OK) return;
    fprintf(stderr, "bare: %s: %s\n", what, natsStatus_GetText(status));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

// Otherwise what is published waits up to a millisecond for more.
static natsConnection *connect_by(const char *url, bool sends_at_once) {
    natsConnection *connection = NULL;
    natsOptions *options = NULL;
    check(natsOptions_Create(&options), url);
    check(natsOptions_SetURL(options, url), url);
    check(natsOptions_SetSendAsap(options, sends_at_once), url);
    check(natsConnection_Connect(&connection, options), url);
    natsOptions_Destroy(options);
    return connection;
}

static natsConnection *connect_to(const char *url) { return connect_by(url, false); }

static natsSubscription *subscribe(natsConnection *connection, const char *subject) {
    natsSubscription *subscription = NULL;
    check(natsConnection_SubscribeSync(&subscription, connection, subject), subject);
    check(natsSubscription_SetPendingLimits(subscription, -1, -1), subject);
    return subscription;
}

static void make_stream(jsCtx *jetstream) {
    jsStreamConfig configuration;
    jsStreamConfig_Init(&configuration);
    const char *subjects[] = {"bare.stream"};
    configuration.Name = "bare";
    configuration.Subjects = subjects;
    configuration.SubjectsLen = 1;
    configuration.MaxBytes = 256 << 20;
    js_DeleteStream(jetstream, "bare", NULL, NULL);
    check(js_AddStream(NULL, jetstream, &configuration, NULL, NULL), "create the stream");
}

// Publishes messages, at most `window` of them not acknowledged.
static void publish(natsConnection *connection, int size, int count, int window) {
    char *body = calloc(1, (size_t)size);
    natsSubscription *answers = subscribe(connection, "bare.answers");
    int sent = 0, stored = 0;
    while (stored < count) {
        while (sent < count && sent - stored < window) {
            check(natsConnection_PublishRequest(connection, "bare.stream", "bare.answers", body, size), "publish");
            sent++;
        }
        natsMsg *answer = NULL;
        check(natsSubscription_NextMsg(&answer, answers, 5000), "wait for an acknowledgement");
        if (strstr(natsMsg_GetData(answer), "\"error\"")) {
            fprintf(stderr, "bare: %s\n", natsMsg_GetData(answer));
            exit(1);
        }
        natsMsg_Destroy(answer);
        stored++;
    }
    natsSubscription_Destroy(answers);
    free(body);
}

struct consuming {
    const char *url;
    int count, batch;
};

// Takes messages of the stream from a pull consumer, in order and without acknowledging them.
static void *consume(void *argument) {
    struct consuming *consuming = argument;
    natsConnection *connection = connect_to(consuming->url);
    natsSubscription *messages = subscribe(connection, "bare.messages");
    char request[100];
    snprintf(request, sizeof request, "{\"batch\":%d,\"expires\":30000000000}", consuming->batch);
    int asked = 0;
    for (int taken = 0; taken < consuming->count;) {
        while (asked - taken <= consuming->batch) {
            check(natsConnection_PublishRequestString(
                      connection, "$JS.API.CONSUMER.MSG.NEXT.bare.reader", "bare.messages", request),
                  "ask for messages");
            asked += consuming->batch;
        }
        natsMsg *message = NULL;
        check(natsSubscription_NextMsg(&message, messages, 10000), "wait for a message");
        if (natsMsg_GetDataLength(message) > 0) taken++;
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(messages);
    natsConnection_Destroy(connection);
    return NULL;
}

// Messages per second, acknowledged; with a reader, until the last one has arrived at it.
static void rate(const char *url, int size, int count, int window, bool is_read) {
    natsConnection *connection = connect_to(url);
    jsCtx *jetstream = NULL;
    check(natsConnection_JetStream(&jetstream, connection, NULL), "use JetStream");
    make_stream(jetstream);
    struct consuming consuming = {url, count, window};
    pthread_t reader;
    if (is_read) {
        jsConsumerConfig configuration;
        jsConsumerConfig_Init(&configuration);
        configuration.Name = "reader";
        configuration.AckPolicy = js_AckNone;
        configuration.MemoryStorage = true;
        check(js_AddConsumer(NULL, jetstream, "bare", &configuration, NULL, NULL), "create the consumer");
        pthread_create(&reader, NULL, consume, &consuming);
    }
    double start = now();
    publish(connection, size, count, window);
    if (is_read) pthread_join(reader, NULL);
    printf("%.0f\n", count / (now() - start));
    js_DeleteStream(jetstream, "bare", NULL, NULL);
    jsCtx_Destroy(jetstream);
    natsConnection_Destroy(connection);
}

static void answer(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure) {
    (void)subscription, (void)closure;
    natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message), natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

// The median of a request of core NATS of 64 bytes and its reply, in microseconds.
static void round_trip(const char *url, int count) {
    natsConnection *server = connect_by(url, true), *client = connect_by(url, true);
    natsSubscription *requests = NULL;
    check(natsConnection_Subscribe(&requests, server, "bare.echo", answer, NULL), "serve");
    check(natsConnection_Flush(server), "serve");
    double *times = malloc((size_t)count * sizeof *times);
    char body[64] = {0};
    for (int i = 0; i < count; i++) {
        natsMsg *reply = NULL;
        double start = now();
        check(natsConnection_Request(&reply, client, "bare.echo", body, sizeof body, 5000), "request");
        times[i] = now() - start;
        natsMsg_Destroy(reply);
    }
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%.1f\n", times[count / 2] * 1e6);
    free(times);
    natsSubscription_Destroy(requests);
    natsConnection_Destroy(server);
    natsConnection_Destroy(client);
}

// A message of 64 bytes through one stream to a consumer, and back through another one. Takes the next message of a consumer.
static void take(natsConnection *connection, natsSubscription *messages, const char *request_subject, int *left) {
    for (;;) {
        if (*left == 0) {
            check(natsConnection_PublishRequestString(
                      connection, request_subject, natsSubscription_GetSubject(messages), "{\"batch\":1000,\"expires\":60000000000}"),
                  "ask for messages");
            *left = 1000;
        }
        natsMsg *message = NULL;
        check(natsSubscription_NextMsg(&message, messages, 10000), "wait for a message");
        bool is_ours = natsMsg_GetDataLength(message) == 64;
        natsMsg_Destroy(message);
        (*left)--;
        if (is_ours) return;
    }
}

static const char *stored_names[] = {"bare-there", "bare-back"};

struct storing {
    const char *url;
    int count;
};

static void ignore(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure) {
    (void)connection, (void)subscription, (void)closure;
    natsMsg_Destroy(message);
}

static void *store_back(void *argument) {
    struct storing *storing = argument;
    natsConnection *connection = connect_by(storing->url, true);
    natsSubscription *messages = subscribe(connection, "bare.server"), *acknowledgements = NULL;
    check(natsConnection_Subscribe(&acknowledgements, connection, "bare.server.stored", ignore, NULL), "subscribe");
    char body[64] = {0};
    int left = 0;
    for (int i = 0; i < storing->count; i++) {
        take(connection, messages, "$JS.API.CONSUMER.MSG.NEXT.bare-there.reader", &left);
        check(natsConnection_PublishRequest(connection, "bare-back", "bare.server.stored", body, sizeof body), "publish");
    }
    natsSubscription_Destroy(acknowledgements);
    natsSubscription_Destroy(messages);
    natsConnection_Destroy(connection);
    return NULL;
}

// The median of a message there and one back, each stored on the way and acknowledged, in microseconds.
static void stored_round_trip(const char *url, int count) {
    natsConnection *connection = connect_by(url, true);
    jsCtx *jetstream = NULL;
    check(natsConnection_JetStream(&jetstream, connection, NULL), "use JetStream");
    for (int i = 0; i < 2; i++) {
        jsStreamConfig stream;
        jsStreamConfig_Init(&stream);
        stream.Name = stored_names[i];
        stream.Subjects = &stored_names[i];
        stream.SubjectsLen = 1;
        stream.MaxBytes = 256 << 20;
        js_DeleteStream(jetstream, stored_names[i], NULL, NULL);
        check(js_AddStream(NULL, jetstream, &stream, NULL, NULL), "create a stream");
        jsConsumerConfig consumer;
        jsConsumerConfig_Init(&consumer);
        consumer.Name = "reader";
        consumer.AckPolicy = js_AckNone;
        consumer.MemoryStorage = true;
        check(js_AddConsumer(NULL, jetstream, stored_names[i], &consumer, NULL, NULL), "create a consumer");
    }
    struct storing storing = {url, count};
    pthread_t server;
    pthread_create(&server, NULL, store_back, &storing);
    natsSubscription *messages = subscribe(connection, "bare.client"), *acknowledgements = NULL;
    check(natsConnection_Subscribe(&acknowledgements, connection, "bare.client.stored", ignore, NULL), "subscribe");
    double *times = malloc((size_t)count * sizeof *times);
    char body[64] = {0};
    int left = 0;
    for (int i = 0; i < count; i++) {
        double start = now();
        check(natsConnection_PublishRequest(connection, "bare-there", "bare.client.stored", body, sizeof body), "publish");
        take(connection, messages, "$JS.API.CONSUMER.MSG.NEXT.bare-back.reader", &left);
        times[i] = now() - start;
    }
    pthread_join(server, NULL);
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%.1f\n", times[count / 2] * 1e6);
    free(times);
    natsSubscription_Destroy(acknowledgements);
    natsSubscription_Destroy(messages);
    for (int i = 0; i < 2; i++) js_DeleteStream(jetstream, stored_names[i], NULL, NULL);
    jsCtx_Destroy(jetstream);
    natsConnection_Destroy(connection);
}

int main(int argc, char **argv) {
    if (argc >= 6 && !strcmp(argv[1], "publish"))
        rate(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), false);
    else if (argc >= 6 && !strcmp(argv[1], "through"))
        rate(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), true);
    else if (argc >= 4 && !strcmp(argv[1], "request"))
        round_trip(argv[2], atoi(argv[3]));
    else if (argc >= 4 && !strcmp(argv[1], "request-stored"))
        stored_round_trip(argv[2], atoi(argv[3]));
    else {
        fprintf(stderr, "usage: bare publish|through URL SIZE COUNT WINDOW, bare request|request-stored URL COUNT\n");
        return 2;
    }
    nats_Close();
    return 0;
}
