import Glibc
import IPC
import SystemPackage

// Message queues, semaphores, counters, signals and processes.

let systemOperations: [Operation] =
    processOperations + [
        Operation(
            "MessageQueue.create(_:maximumMessages:messageSize:permissions:)"
        ) {
            let name = systemName()
            return Attempt(undo: { try MessageQueue.unlink(name) }) {
                _ = try MessageQueue.create(
                    name, maximumMessages: 2, messageSize: 64, permissions: [.ownerReadWrite, .groupRead])
            }
        },
        Operation(
            "MessageQueue.open(_:access:)", "MessageQueue.init(adopting:)", "MessageQueue.close()",
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
        Operation("MessageQueue.openOrCreate(_:maximumMessages:messageSize:permissions:)") {
            let name = systemName()
            return Attempt(undo: { try MessageQueue.unlink(name) }) {
                _ = try MessageQueue.openOrCreate(name, permissions: [.ownerReadWrite, .groupRead])
            }
        },
        Operation("MessageQueue.openOrCreate(_:maximumMessages:messageSize:permissions:)") {
            // One that exists.
            let name = systemName()
            _ = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
            return Attempt(end: { try? MessageQueue.unlink(name) }) {
                _ = try MessageQueue.openOrCreate(
                    name, maximumMessages: 2, messageSize: 64, permissions: .ownerReadWrite)
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
        Operation("NamedSemaphore.create(_:value:permissions:)") {
            let name = systemName()
            return Attempt(undo: { try NamedSemaphore.unlink(name) }, end: { try? NamedSemaphore.unlink(name) }) {
                _ = try NamedSemaphore.create(name, value: 1, permissions: [.ownerReadWrite, .groupReadWrite])
            }
        },
        Operation("NamedSemaphore.openOrCreate(_:value:permissions:)") {
            let name = systemName()
            return Attempt(undo: { try NamedSemaphore.unlink(name) }, end: { try? NamedSemaphore.unlink(name) }) {
                _ = try NamedSemaphore.openOrCreate(name, value: 1, permissions: [.ownerReadWrite, .groupReadWrite])
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

private let childInit =
    "ChildProcess.init(_:_:environment:workingDirectory:standardInput:standardOutput:standardError:descriptors:processGroup:)"

private let processOperations: [Operation] = [
    Operation(childInit) {
        Attempt {
            let child = try ChildProcess(
                "/bin/true", environment: .changing(["A": "B"]), workingDirectory: "/",
                descriptors: [0: .standardError, 7: .standardError], processGroup: .new)
            try require(try child.wait(until: .after(.seconds(20))) == .exited(0), "its end")
        }
    },
    Operation(
        childInit, "ChildProcess.takeStandardInput()", "ChildProcess.takeStandardOutput()",
        "ChildProcess.takeStandardError()"
    ) {
        Attempt {
            var child = try ChildProcess(
                "/bin/cat", standardInput: .piped, standardOutput: .captured, standardError: .captured)
            let wait = Deadline.after(.seconds(20))
            try child.takeStandardInput().close()
            try require(try child.takeStandardOutput().readToEnd(until: wait).isEmpty, "no output")
            try require(try child.takeStandardError().readToEnd(until: wait).isEmpty, "no errors")
            try require(try child.wait(until: wait) == .exited(0), "its end")
        }
    },
    Operation(childInit) {
        Attempt {
            let child = try ChildProcess(
                "/bin/true", standardInput: .empty, standardOutput: .discarded, standardError: .merged)
            try require(try child.wait(until: .after(.seconds(20))) == .exited(0), "its end")
        }
    },
    Operation("ChildProcess.end(gracePeriod:)") {
        let child = Box(try ChildProcess("/bin/sleep", ["100"], processGroup: .new))
        return Attempt(again: {}) {
            // By force, if it cannot be asked to.
            let status = try child.value.end(gracePeriod: .milliseconds(200))
            try require(status == .signaled(.terminate) || status == .signaled(.kill), "its end")
        }
    },
    Operation("ChildProcess.end(gracePeriod:) async") {
        let child = Box(try ChildProcess("/bin/sleep", ["100"], processGroup: .new))
        return Attempt(
            again: {},
            suspending: {
                let status = try await child.value.end(gracePeriod: .milliseconds(200))
                try require(status == .signaled(.terminate) || status == .signaled(.kill), "its end")
            })
    },
    Operation(childInit) {
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
