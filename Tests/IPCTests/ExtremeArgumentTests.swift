import CIPCShims
import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// Arguments at the ends of their types: each call throws, or does what it can. None ends the process.
@Suite(.timeLimit(.minutes(5))) struct ExtremeArgumentTests {
    private static let integers: [Int] = [.min, .min + 1, -4096, -1, 0, 1, 3, 4095, 1 << 47, 1 << 62, .max - 1, .max]

    /// What is thrown is an error that names what is wrong.
    private func refused(_ body: () throws(IPCError) -> Void) {
        if let error = failure(body) { #expect(!error.advice.isEmpty) }
    }

    @Test func deadlinesOfAnyDurationArePointsInTime() throws {
        let longest = Duration(secondsComponent: .max, attosecondsComponent: 0)
        for duration in [longest, longest * 10, .seconds(1 << 40), .seconds(9_300_000_000)] {
            #expect(Deadline.after(duration) == .never)
            #expect(Deadline.after(.zero - duration).hasPassed)
        }
        #expect(Deadline.after(.zero).hasPassed)
        let long = Deadline.after(.seconds(86_400 * 365 * 50))
        #expect(long != .never && !long.hasPassed && long.remaining ?? .zero > .seconds(86_400 * 365 * 49))
    }

    @Test func theReactorSleepsUntilTheFarthestPointInTime() throws {
        let epoll = OwnedDescriptor(adopting: FileDescriptor(rawValue: ipc_epoll_create()))
        let timer = OwnedDescriptor(adopting: FileDescriptor(rawValue: ipc_timer_create()))
        #expect(ipc_epoll_arm(epoll.descriptor.rawValue, timer.descriptor.rawValue, Int16(POLLIN), 0) == 0)
        ipc_timer_set(timer.descriptor.rawValue, 50_000_000)
        var (descriptors, events) = ([CInt](repeating: 0, count: 64), [Int16](repeating: 0, count: 64))
        // A point in time taken for one that has passed brings nothing, at once: its thread would go round for ever.
        #expect(ipc_epoll_wait(epoll.descriptor.rawValue, &descriptors, &events, 64, .max - 1) == 1)
        #expect(descriptors[0] == timer.descriptor.rawValue)
    }

    @Test func sizesAndRangesOfMemoryAreRefused() throws {
        let name = "/" + uniqueName()
        for size in Self.integers where size <= 0 || size > 1 << 46 {
            refused { () throws(IPCError) in _ = try SharedMemory.create(name, byteCount: size) }
            refused { () throws(IPCError) in _ = try AnonymousMemory(byteCount: size) }
            refused { () throws(IPCError) in
                _ = try MappedFile.create(FilePath("/tmp/\(uniqueName())"), byteCount: size)
            }
        }
        #expect(failure { () throws(IPCError) in _ = try SharedMemory.open(name) }?.code == .notFound)
        let memory = try AnonymousMemory(byteCount: 8192)
        let mapping = try memory.map()
        for lower in Self.integers {
            for upper in Self.integers where lower <= upper {
                refused { () throws(IPCError) in _ = try memory.map(lower..<upper) }
                refused { () throws(IPCError) in try mapping.sync(lower..<upper) }
                refused { () throws(IPCError) in try mapping.advise(.normal, lower..<upper) }
            }
            refused { () throws(IPCError) in _ = try Futex(in: mapping, at: lower) }
            refused { () throws(IPCError) in _ = try SharedMutex.openOrCreate(in: mapping, at: lower) }
            refused { () throws(IPCError) in _ = try SharedCondition.open(in: mapping, at: lower, until: .immediate) }
            refused { () throws(IPCError) in _ = try SharedReadWriteLock.open(in: mapping, at: lower, until: .immediate)
            }
            refused { () throws(IPCError) in _ = try SharedSemaphore.create(in: mapping, at: lower, value: .max) }
        }
        let error = failure { () throws(IPCError) in try mapping.sync(4096..<Int.max) }
        #expect(error?.code == .invalidArgument && error?.advice.contains("8192") == true)
    }

    @Test func anObjectOfTheLongestSizeIsMappedInParts() throws {
        let memory = try AnonymousMemory(byteCount: 4096)
        try memory.resize(to: .max)
        #expect(try memory.byteCount == .max)
        let error = failure { () throws(IPCError) in _ = try memory.map() }
        #expect(error?.code == .invalidArgument, "\(String(describing: error))")
        #expect(try memory.map(4096..<8192).byteCount == 4096)
        refused { () throws(IPCError) in _ = try memory.map(Int.max - 10..<Int.max) }
    }

    @Test func whatNeedsAlignmentIsRefusedInAWindowThatLacksIt() throws {
        let path = FilePath("/tmp/\(uniqueName())")
        let file = try MappedFile.create(path, byteCount: 8192)
        defer { unlink(path.string) }
        let window = try file.map(1..<8000)
        #expect(failure { () throws(IPCError) in _ = try Futex(in: window, at: 0) }?.code == .invalidArgument)
        #expect(
            failure { () throws(IPCError) in _ = try SharedMutex.create(in: window, at: 0) }?.code == .invalidArgument)
        // Where it is aligned in memory, it goes.
        _ = try SharedMutex.create(in: window, at: 63)
    }

    @Test func limitsOfStreamsMayBeAnything() async throws {
        for limit in Self.integers {
            let pipe = try AnonymousPipe()
            try await pipe.writer.write(([0, 0, 0, 2, 65, 66] as [UInt8]).span.bytes)
            let frames = try pipe.reader.frames(limit: limit)
            let lines = try pipe.reader.lines(limit: limit)
            var iterator = frames.makeAsyncIterator()
            do {
                let frame = try await iterator.next()
                #expect(frame == [65, 66] && limit >= 2)
            } catch {
                #expect(error.code == .messageTooLarge && limit < 2)
            }
            let other = try AnonymousPipe()
            try await other.writer.write("line\n".utf8.span.bytes)
            _ = lines
            let reader = SharedReference(other.closingWriter())
            _ = try? await reader.value.readToEnd(limit: limit, until: .after(.milliseconds(50)))
            refused { () throws(IPCError) in _ = try AnonymousPipe(capacity: limit > 1 << 20 ? limit : min(limit, 0)) }
        }
    }

    @Test func numbersThatAreNoSignalsAreRefused() async throws {
        for number in [CInt.min, -1, 0, 32, 33, 65, 999, .max] {
            let signal = Signal(rawValue: number)
            #expect(
                failure { () throws(IPCError) in _ = try SignalSource([signal]) }?.code == .invalidArgument, "\(number)"
            )
            let set = SignalSet([signal])
            #expect(!set.contains(signal))
        }
        let own = try ProcessHandle(getpid())
        for n in [Int.min, -1, 1000, .max] {
            let signal = Signal.realTime(n)
            #expect(failure { () throws(IPCError) in try signal.send(toProcess: getpid()) }?.code == .invalidArgument)
            #expect(failure { () throws(IPCError) in try own.send(signal) }?.code == .invalidArgument)
        }
        for process in [pid_t.min, -1, 0, .max] {
            refused { () throws(IPCError) in _ = try ProcessHandle(process) }
            refused { () throws(IPCError) in try Signal.probe.send(toProcess: process) }
            refused { () throws(IPCError) in try Signal.probe.queue(value: .min, toProcess: process) }
            refused { () throws(IPCError) in try Signal.probe.send(toThread: process, ofProcess: process) }
        }
        #expect(Signal(name: "0") == nil && Signal(name: "999") == nil && Signal(name: "SIGRTMINx3") == nil)
    }

    @Test func numbersThatAreNoDescriptorsAreRefused() throws {
        for number in [CInt.min, -1, 1_000_000, .max - 1, .max] {
            let descriptor = FileDescriptor(rawValue: number)
            refused { () throws(IPCError) in _ = try PipeReader(adopting: OwnedDescriptor(adopting: descriptor)) }
            refused { () throws(IPCError) in _ = try StreamSocket(adopting: OwnedDescriptor(adopting: descriptor)) }
            refused { () throws(IPCError) in _ = try MessageQueue(adopting: OwnedDescriptor(adopting: descriptor)) }
            refused { () throws(IPCError) in
                _ = try EventCounter(adopting: OwnedDescriptor(adopting: descriptor)).tryTake()
            }
            refused { () throws(IPCError) in _ = try ChildProcess("true", descriptors: [number: .standardInput]) }
            refused { () throws(IPCError) in _ = try ChildProcess("true", descriptors: [5: descriptor]) }
            refused { () throws(IPCError) in _ = try ChildProcess("true", processGroup: .joining(number)) }
            let pair = try StreamSocket.makePair()
            refused { () throws(IPCError) in try pair.first.send([1].span.bytes, descriptors: [descriptor]) }
        }
    }

    @Test func sizesOfQueuesAndCountersAreRefused() throws {
        let name = "/" + uniqueName()
        for size in Self.integers where size <= 0 || size > 1 << 46 {
            refused { () throws(IPCError) in _ = try MessageQueue.create(name, maximumMessages: size, messageSize: size)
            }
            refused { () throws(IPCError) in _ = try MessageQueue.create(name, maximumMessages: size) }
            refused { () throws(IPCError) in _ = try MessageQueue.create(name, messageSize: size) }
        }
        refused { () throws(IPCError) in _ = try NamedSemaphore.create(name, value: .max) }
        let counter = try EventCounter(initial: .max)
        refused { () throws(IPCError) in try counter.add(.max) }
        for backlog in [Int.min, -1, .max] {
            _ = try StreamListener(.tcp(host: "127.0.0.1", port: 0), backlog: backlog)
        }
    }
}
