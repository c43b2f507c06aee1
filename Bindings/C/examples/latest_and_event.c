// A latest value and an event. In two terminals: ./latest_and_event watch, ./latest_and_event set.
#include <ipc.h>
#include <stdio.h>
#include <string.h>

static int failed(const ipc_error *error) {
    fprintf(stderr, "latest_and_event: %s\n", error->text);
    return 1;
}

int main(int argc, char **argv) {
    ipc_error error = IPC_ERROR_INIT;
    ipc_channel *latest, *event;
    if (ipc_open_or_create(IPC_LATEST, "room/temperature", "{\"message\":\"f64\"}", NULL, &latest, &error) != IPC_OK) return failed(&error);
    if (ipc_open_or_create(IPC_EVENT, "room/alarm", NULL, NULL, &event, &error) != IPC_OK) return failed(&error);
    if (argc == 2 && strcmp(argv[1], "set") == 0) {
        ipc_writer *setter, *alarm;
        if (ipc_writer_open(latest, &setter, &error) != IPC_OK) return failed(&error);
        if (ipc_writer_open(event, &alarm, &error) != IPC_OK) return failed(&error);
        double temperature = 21.5;
        if (ipc_write(setter, &temperature, sizeof temperature, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
        if (ipc_notify(alarm, 1, &error) != IPC_OK) return failed(&error);
        ipc_writer_close(setter);
        ipc_writer_close(alarm);
    } else {
        ipc_reader *getter, *alarm;
        if (ipc_reader_open(latest, NULL, &getter, &error) != IPC_OK) return failed(&error);
        if (ipc_reader_open(event, NULL, &alarm, &error) != IPC_OK) return failed(&error);
        if (ipc_wait(alarm, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
        double temperature;
        size_t count;
        if (ipc_get(getter, &temperature, sizeof temperature, &count, &error) != IPC_OK) return failed(&error);
        printf("%g degrees\n", temperature);
        ipc_reader_close(getter);
        ipc_reader_close(alarm);
    }
    ipc_channel_close(latest);
    ipc_channel_close(event);
    return 0;
}
