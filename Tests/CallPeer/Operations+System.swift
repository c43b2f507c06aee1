import Glibc
import IPC
import SystemPackage

// Message queues, semaphores, counters, signals and processes.

let systemOperations: [Operation] =
    processOperations + [
        Operation(
            "MessageQueue.create(_:maximumMessages:messageSize:permissions:_:)"
        ) {
            let name = systemName()
            return Attempt(undo: { try MessageQueue.unlink(name) }) {
                _ = try MessageQueue.create(
                    name, maximumMessages: 2, messageSize: 64, permissions: [.ownerReadWrite, .groupRead])
            }
        },
        Operation(
            "MessageQueue.open(_:_:)", "MessageQueue.init(adopting:)", "MessageQueue.close()",
            "MessageQueue.requestNotification(_:value:)", "MessageQueue.cancelNotification()"
        ) {
            let name = systemName()
            _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
            return Attempt(end: { try? MessageQueue.unlink(name) }) {
                let queue = try MessageQueue.open(name)
                try queue.requestNotification(.userDefined2)
                try queue.cancelNotification()
                try MessageQueue(adopting: duplicate(queue.descriptor)).close()
            }
        },
        Operation("MessageQueue.unlink(_:)") {
            let name = systemName()
            _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
            return Attempt { try MessageQueue.unlink(name) }
        },
        Operation(
            "MessageQueue.messages()", "MessageQueue.Messages.Iterator.next() async",
            "MessageQueue.Messages.Iterator.next(isolation:) async"
        ) {
            let queue = Box(try newQueue())
            try queue.value.send(three().span.bytes)
            return Attempt(
                again: {},
                suspending: {
                    var messages = try queue.value.messages().makeAsyncIterator()
                    try require(try await messages.next()?.bytes == three(), "a message")
                })
        },
        Operation("NamedSemaphore.create(_:value:permissions:_:)") {
            let name = systemName()
            return Attempt(undo: { try NamedSemaphore.unlink(name) }, end: { try? NamedSemaphore.unlink(name) }) {
                _ = try NamedSemaphore.create(name, value: 1, permissions: [.ownerReadWrite, .groupReadWrite])
            }
        },
        Operation("NamedSemaphore.open(_:)", "NamedSemaphore.post()", "NamedSemaphore.readValue(_:)") {
            let name = systemName()
            _ = try NamedSemaphore.create(name, value: 1)
            return Attempt(end: { try? NamedSemaphore.unlink(name) }) {
                try NamedSemaphore.open(name).post()
                try require(try NamedSemaphore.readValue(name) > 1, "a count")
            }
        },
        Operation("NamedSemaphore.unlink(_:)") {
            let name = systemName()
            _ = try NamedSemaphore.create(name, value: 1)
            return Attempt { try NamedSemaphore.unlink(name) }
        },
        Operation("EventCounter.init(initial:_:)", "EventCounter.add(_:)", "EventCounter.close()") {
            Attempt {
                let counter = try EventCounter(initial: 1)
                try counter.add(2)
                try counter.close()
            }
        },
        Operation("ResourceName.init(_:)") { Attempt { _ = try ResourceName("/name") } },
        Operation("EventLoop.init()") { Attempt { _ = try EventLoop() } },
        Operation("SignalSource.init(_:)", "SignalSource.signals()", "SignalSource.close()") {
            Attempt {
                let source = try SignalSource([.userDefined1, .terminate, .realTime(1)])
                _ = try source.signals()
                try source.close()
            }
        },
        Operation(
            "SignalSource.Signals.Iterator.next() async", "SignalSource.Signals.Iterator.next(isolation:) async"
        ) {
            let source = Box(try SignalSource([.userDefined2]))
            kill(getpid(), SIGUSR2)
            return Attempt(
                again: {},
                suspending: {
                    var signals = try source.value.signals().makeAsyncIterator()
                    try require(try await signals.next()?.signal == .userDefined2, "a signal")
                })
        },
    ]

private let processOperations: [Operation] = [
    Operation("ChildProcess.init(_:_:environment:descriptors:workingDirectory:processGroup:)") {
        Attempt {
            let child = try ChildProcess(
                "/bin/true", descriptors: [0: .standardError, 7: .standardError], workingDirectory: "/",
                processGroup: .new)
            try require(try child.wait(until: .after(.seconds(20))) == .exited(0), "its end")
        }
    },
    Operation("ChildProcess.init(_:_:environment:descriptors:workingDirectory:processGroup:)") {
        // By its name, in the folders of PATH.
        Attempt {
            let child = try ChildProcess("true")
            try require(try child.wait(until: .after(.seconds(20))) == .exited(0), "its end")
        }
    },
    Operation(
        "ChildProcess.sendToGroup(_:)", "ProcessHandle.init(_:)", "ProcessHandle.queue(_:value:)",
        "ProcessHandle.send(_:)", "Signal.queue(value:toProcess:)", "Signal.send(toGroup:)", "Signal.send(toProcess:)",
        "Signal.send(toThread:ofProcess:)"
    ) {
        let child = Box(try ChildProcess("sleep", ["100"], processGroup: .new))
        return Attempt {
            let process = child.value.handle.identifier
            try child.value.sendToGroup(.continue)
            let handle = try ProcessHandle(process)
            try handle.queue(.continue, value: 1)
            try handle.send(.continue)
            try Signal.continue.queue(value: 1, toProcess: process)
            try Signal.continue.send(toGroup: process)
            try Signal.continue.send(toProcess: process)
            try Signal.continue.send(toThread: process, ofProcess: process)
        }
    },
]
