import Glibc
import IPC
import SystemPackage
import SystemSupport

// Signals and children.
extension TestPeer {
    /// Says each signal as it comes as a sequence, until SIGTERM.
    static func asyncSignals() throws {
        // Before there is any other thread.
        let signals = try SignalSource([.userDefined1, .userDefined2, .terminate]).signals()
        say("ready")
        Task.detached {
            for try await received in signals {
                say("\(received.signal)")
                if received.signal == .terminate { exit(0) }
            }
        }
        while true { pause() }
    }

    static func signalState() {
        let file = fopen("/proc/self/status", "r")!
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("SigBlk") || text.hasPrefix("SigIgn") { print(text, terminator: "") }
        }
    }

    /// A queue tells by a signal that it got its first message.
    static func notification(_ name: String) throws {
        let signals = try SignalSource([.realTime(1)])
        let queue = try MessageQueue.create(name, maximumMessages: 2, messageSize: 16)
        defer { try? MessageQueue.unlink(name) }
        try queue.requestNotification(.realTime(1), value: 42)
        try queue.send(([1, 2] as [UInt8]).span.bytes)
        let received = try signals.next(until: .after(.seconds(10)))
        say("\(received.signal) \(received.value)")
    }

    static func signals() throws {
        let source = try SignalSource([.userDefined1, .realTime(2), .terminate])
        say("ready")
        while true {
            let received = try source.next(until: .after(.seconds(20)))
            say("\(received.signal) \(received.value) \(received.sender)")
            if received.signal == .terminate { return }
        }
    }

    static func lateSignalSource() {
        // A thread starts with all signals blocked, and takes its mask a little later: it posts when it has.
        let running = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
        sem_init(running, 0, 0)
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                sem_post(argument!.assumingMemoryBound(to: sem_t.self))
                while true { pause() }
            }, running)
        sem_wait(running)
        do throws(IPCError) {
            let source = try SignalSource([.userDefined1])
            // This thread does not take it: the other one does.
            SignalSet([.userDefined1]).blockInCallingThread()
            try Signal.userDefined1.send(toProcess: getpid())
            say("\(try source.next(until: .after(.seconds(10))).signal)")
        } catch {
            say("\(error)")
        }
    }

    /// Many children that end at once; every one of them is noticed.
    static func children(_ count: Int) throws {
        final class Box {
            let child: ChildProcess
            init(_ child: consuming ChildProcess) { self.child = child }
        }
        let source = try SignalSource([.child])
        var running: [Box] = []
        for index in 0..<count { running.append(Box(try ChildProcess("sh", ["-c", "exit \(index % 100)"]))) }
        var codes = 0
        while !running.isEmpty {
            _ = try source.next(until: .after(.seconds(20)))
            var left: [Box] = []
            for box in running {
                if case .exited(let code)? = try box.child.tryWait() { codes += Int(code) } else { left.append(box) }
            }
            running = left
        }
        say("\(codes)")
    }

    /// With the default action for SIGPIPE: a write to a pipe that nobody reads.
    static func sigpipe() throws {
        signal(SIGPIPE, SIG_DFL)
        let writer = try AnonymousPipe().closingReader()
        for deadline in [Deadline.never, .immediate] {
            do throws(IPCError) {
                try writer.write(([1] as [UInt8]).span.bytes, until: deadline)
            } catch {
                print(error.code)
            }
        }
        // As on a kernel without RWF_NOSIGNAL.
        var byte: UInt8 = 1
        let raw = writer.descriptor.rawValue
        let result = BrokenPipeSilence.blockingTheSignal {
            Glibc.write(raw, &byte, 1) == 1 ? .success(1) : .failure(Errno(rawValue: errno))
        }
        print(result == .failure(.brokenPipe) ? "brokenPipe" : "\(result)")
        let pair = try StreamSocket.makePair()
        let socket = pair.closingSecond()
        do throws(IPCError) { try socket.write(([1] as [UInt8]).span.bytes) } catch { print(error.code) }
        say("alive")
    }

    /// A line of this process's status.
    static func status(_ name: String) -> String {
        guard let file = fopen("/proc/self/status", "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let text = String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") } ?? ""
        return String(line.dropFirst(name.count + 2))
    }
}
