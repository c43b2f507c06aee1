// A process for the tests to talk to and to kill. Its first argument is its role.
import Glibc
import IPC
import SystemPackage
import SystemSupport

@main
struct TestPeer {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments[0] {
        case "descriptors": listDescriptors()
        case "signal-state": signalState()
        case "lock": try lock(arguments[1], arguments[2])
        case "count": try count(arguments[1])
        case "open-close": try openAndClose(arguments[1], Int(arguments[2])!)
        case "listen": try listen(Endpoint(arguments[1]))
        case "post-semaphore":
            usleep(100_000)
            try NamedSemaphore.open(arguments[1]).post()
        case "hold-semaphore": try holdSemaphore(arguments[1])
        case "storm-write": try stormWrite(Int(arguments[1])!, arguments[2])
        case "storm-read": try stormRead(Int(arguments[1])!, arguments[2])
        case "write-forever": try writeForever(arguments[1])
        case "signals": try signals()
        case "async-signals": try asyncSignals()
        case "async-exhausted": try asyncExhausted()
        case "pool-waits": try PoolWaits.run()
        case "late-signal-source": lateSignalSource()
        case "activation": activation()
        case "children": try children(Int(arguments[1])!)
        case "exhausted": try exhausted(FilePath(arguments[1]))
        case "queue-limit": queueLimit(arguments[1])
        case "storm-deadline": try stormDeadline()
        case "notification": try notification(arguments[1])
        case "signal-limit": try signalLimit()
        case "storm-connect": try stormConnect(Endpoint(arguments[1]))
        case "credentials": try credentials()
        case "size":
            say("opening")
            say("\(try SharedMemory.open(arguments[1], until: .after(.seconds(30))).byteCount)")
        case "sigpipe": try sigpipe()
        case "unprivileged-limits": try Unprivileged.limits()
        case "unprivileged-connect": try Unprivileged.connect(Array(arguments.dropFirst()))
        case "allocations": try Allocations.run()
        case "references": try References.run()
        case "signal-sources": try SignalRoles.severalSources()
        case "signal-refused": try SignalRoles.refused()
        case "signal-two-takers": try SignalRoles.twoTakers()
        case "signal-overflow": try SignalRoles.overflow()
        case "signal-fork": try SignalRoles.fork()
        case "signal-fault": try SignalRoles.fault()
        case "late-openings": try lateOpenings(FilePath(arguments[1]))
        case "unread-input": ProcessRoles.run(ProcessRoles.unreadInput)
        case "ignored-children": ProcessRoles.run(ProcessRoles.ignoredChildren)
        case "closed-descriptors": try ProcessRoles.closedDescriptors()
        case "full-receiver":
            let (name, way) = (arguments[1], arguments[2])
            ProcessRoles.run { try await SocketRoles.fullReceiver(name, isAsync: way == "async") }
        case "connect-to":
            let (endpoint, time) = (try Endpoint(arguments[1]), Int(arguments[2])!)
            ProcessRoles.run { try await SocketRoles.connect(endpoint, milliseconds: time) }
        case "relative-path": try SocketRoles.relativePath(arguments[1], arguments[2])
        case "closed-sockets": try SocketRoles.closedDescriptors(arguments[1])
        case "refused-calls":
            let (error, names) = (CInt(arguments[1])!, Array(arguments.dropFirst(2)))
            ProcessRoles.run { try await ProcessRoles.refused(names, error) }
        case "two-takers": try TakerRoles.run()
        case "fork-after-waits": try ForkRoles.afterWaits()
        case "fork-on-loop": try ForkRoles.onLoop()
        case "resolver":
            let server = arguments[1]
            ProcessRoles.run { try await ResolverRoles.run(server) }
        case "exec-refused":
            // Becomes another program, to which these system calls are refused.
            let numbers = arguments[2].split(separator: ",").map { support_call_number(String($0)) }
            guard !numbers.contains(-1), support_refuse(numbers, CInt(numbers.count), CInt(arguments[1])!) == 0 else {
                fatalError("no filter: \(errno)")
            }
            var words: [UnsafeMutablePointer<CChar>?] = arguments[3...].map { strdup($0) } + [nil]
            execv(arguments[3], &words)
            fatalError("exec: \(errno)")
        default: fatalError("unknown role")
        }
    }

    /// Waits asynchronously without a free descriptor, and with some again; says what comes of it.
    static func asyncExhausted() throws {
        let pipe = try AnonymousPipe()
        Task.detached {
            // Only now, since Swift's pool takes some as well.
            try await Task.sleep(for: .milliseconds(1))
            var limit = rlimit(rlim_cur: 40, rlim_max: 40)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var descriptors: [CInt] = []
            while case let descriptor = dup(0), descriptor >= 0 { descriptors.append(descriptor) }
            for attempt in 0..<2 {
                do throws(IPCError) {
                    var bytes: [UInt8] = [0]
                    var elements = bytes.mutableSpan
                    var buffer = elements.mutableBytes
                    _ = try await pipe.reader.read(into: &buffer, until: .after(.milliseconds(20)))
                } catch {
                    say("\(error.code)")
                }
                if attempt == 0 { for descriptor in descriptors { close(descriptor) } }
            }
            exit(0)
        }
        while true { pause() }
    }

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

    static func say(_ text: String) {
        print(text)
        fflush(nil)
    }

    static func listDescriptors() {
        let folder = opendir("/proc/self/fd")!
        defer { closedir(folder) }
        let own = dirfd(folder)
        var numbers: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = Int32(name), number != own { numbers.append(number) }
        }
        say(numbers.sorted().map(String.init).joined(separator: " "))
    }

    static func signalState() {
        let file = fopen("/proc/self/status", "r")!
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("SigBlk") || text.hasPrefix("SigIgn") { print(text, terminator: "") }
        }
    }

    /// Takes a lock at offset 0, says so, and waits to be killed.
    static func lock(_ kind: String, _ name: String) throws {
        let mapping = try SharedMemory.open(name).map()
        switch kind {
        case "mutex": _ = try SharedMutex.open(in: mapping, at: 0).lock()
        case "read": _ = try SharedReadWriteLock.open(in: mapping, at: 0).lockForReading()
        case "write": _ = try SharedReadWriteLock.open(in: mapping, at: 0).lockForWriting()
        case "condition":
            let mutex = try SharedMutex.open(in: mapping, at: 0)
            _ = try mutex.lock()
            say("locked")
            _ = try SharedCondition.open(in: mapping, at: 64).wait(mutex)
        default: fatalError("unknown lock")
        }
        say("locked")
        while true { pause() }
    }

    /// Counts up under the lock at offset 0, 10,000 times.
    static func count(_ name: String) throws {
        let mapping = try SharedMemory.open(name).map()
        let lock = try SharedReadWriteLock.open(in: mapping, at: 0)
        let offset = SharedReadWriteLock.byteCount
        for _ in 0..<10_000 {
            try lock.withWriteLock { mapping.store(mapping.load(Int.self, at: offset) + 1, at: offset) }
        }
    }

    static func openAndClose(_ name: String, _ times: Int) throws {
        for _ in 0..<times {
            let mapping = try SharedMemory.open(name).map()
            mapping.withAtomic(Int.self, at: 0) { _ = $0.add(1, ordering: .relaxed) }
        }
    }

    static func listen(_ endpoint: Endpoint) throws {
        guard let listener = try? StreamListener(endpoint) else { exit(1) }
        say("ready")
        while true {
            let connection = try listener.accept()
            try? connection.write("hello".utf8.span.bytes)  // who only looks whether we live has gone already
        }
    }

    static func holdSemaphore(_ name: String) throws {
        try NamedSemaphore.open(name).wait()
        say("held")
        while true { pause() }
    }

    /// A signal every 100 microseconds, with a handler that interrupts system calls.
    static func startStorm() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGALRM, &action, nil)
        var interval = itimerval(
            it_interval: timeval(tv_sec: 0, tv_usec: 100), it_value: timeval(tv_sec: 0, tv_usec: 100))
        setitimer(__itimer_which_t(ITIMER_REAL.rawValue), &interval, nil)
    }

    static let stormChunk = 100_000

    static func stormWrite(_ total: Int, _ kind: String) throws {
        startStorm()
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        if kind == "pipe" {
            let writer = try PipeWriter(adopting: descriptor)
            try storm(total) { (chunk, deadline) throws(IPCError) in try writer.write(chunk.span.bytes, until: deadline)
            }
        } else {
            let socket = try StreamSocket(adopting: descriptor)
            try storm(total) { (chunk, deadline) throws(IPCError) in try socket.write(chunk.span.bytes, until: deadline)
            }
        }
    }

    static func storm(_ total: Int, _ write: ([UInt8], Deadline) throws(IPCError) -> Void) throws(IPCError) {
        var chunk = [UInt8](repeating: 0, count: stormChunk)
        for start in stride(from: 0, to: total, by: stormChunk) {
            for index in chunk.indices { chunk[index] = UInt8(truncatingIfNeeded: start + index &* 7) }
            // Alternately without a deadline and with one.
            try write(chunk, start / stormChunk % 2 == 0 ? .never : .after(.seconds(60)))
        }
    }

    static func stormRead(_ total: Int, _ kind: String) throws {
        startStorm()
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        if kind == "pipe" {
            let reader = try PipeReader(adopting: descriptor)
            try check(total) { (buffer, deadline) throws(IPCError) in
                try reader.readExactly(into: &buffer, until: deadline)
            }
        } else {
            let socket = try StreamSocket(adopting: descriptor)
            try check(total) { (buffer, deadline) throws(IPCError) in
                try socket.readExactly(into: &buffer, until: deadline)
            }
        }
        say("whole")
    }

    static func check(_ total: Int, _ read: (inout MutableRawSpan, Deadline) throws(IPCError) -> Void) throws(IPCError)
    {
        var chunk = [UInt8](repeating: 0, count: stormChunk)
        for start in stride(from: 0, to: total, by: stormChunk) {
            var elements = chunk.mutableSpan
            var buffer = elements.mutableBytes
            try read(&buffer, start / stormChunk % 2 == 0 ? .never : .after(.seconds(60)))
            for index in chunk.indices where chunk[index] != UInt8(truncatingIfNeeded: start + index &* 7) {
                fatalError("wrong byte at \(start + index)")
            }
        }
    }

    /// Waits of 100 ms that a signal interrupts every 100 microseconds: each ends on time.
    static func stormDeadline() throws {
        let mapping = try AnonymousMemory(byteCount: 4096).map()
        let semaphore = try SharedSemaphore.create(in: mapping, at: 0, value: 0)
        let mutex = try SharedMutex.create(in: mapping, at: 64)
        let condition = try SharedCondition.create(in: mapping, at: 128)
        let pipe = try AnonymousPipe()
        startStorm()
        func measure(_ name: String, _ wait: (Deadline) throws(IPCError) -> Void) {
            let start = ContinuousClock.now
            var code = "no error"
            do throws(IPCError) { try wait(.after(.milliseconds(100))) } catch { code = "\(error.code)" }
            let elapsed = ContinuousClock.now - start
            print(name, code, elapsed >= .milliseconds(100) && elapsed < .seconds(2) ? "on time" : "\(elapsed)")
        }
        measure("semaphore") { (deadline) throws(IPCError) in try semaphore.wait(until: deadline) }
        measure("pipe") { (deadline) throws(IPCError) in
            var byte: [UInt8] = [0]
            var elements = byte.mutableSpan
            var buffer = elements.mutableBytes
            _ = try pipe.reader.read(into: &buffer, until: deadline)
        }
        measure("condition") { (deadline) throws(IPCError) in
            _ = try mutex.lock()
            defer { try? mutex.unlock() }
            guard try condition.wait(mutex, until: deadline, for: { false }) else {
                return try semaphore.wait(until: .immediate)  // throws the same error
            }
        }
        say("end")
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

    /// Writes to the mechanism on descriptor 3 until it is killed.
    static func writeForever(_ kind: String) throws {
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        let chunk = [UInt8](repeating: 7, count: 50_000)
        switch kind {
        case "pipe":
            let writer = try PipeWriter(adopting: descriptor)
            while true { try writer.write(chunk.span.bytes) }
        case "stream":
            let socket = try StreamSocket(adopting: descriptor)
            while true { try socket.write(chunk.span.bytes) }
        case "packet":
            let socket = try PacketSocket(adopting: descriptor)
            while true { try socket.send(chunk.span.bytes) }
        case "queue":
            let queue = try MessageQueue(adopting: descriptor)
            let short = [UInt8](repeating: 7, count: 64)
            while true { try queue.send(short.span.bytes) }
        default: fatalError("unknown kind")
        }
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

    /// Opens a named pipe that nobody else opens, and waits until what it watched with is closed.
    static func lateOpenings(_ path: FilePath) throws {
        let pipe = try NamedPipe.create(at: path)
        defer { try? pipe.unlink() }
        var late = 0
        for _ in 0..<3 {
            do throws(IPCError) { _ = try pipe.openForReading(until: .after(.milliseconds(5))) } catch {
                if error.code == .timedOut { late += 1 }
            }
        }
        say("\(late) late")
        // A thread closes them after a second.
        let end = Deadline.after(.seconds(40))
        while fileWatchCount > 0, !end.hasPassed { usleep(50_000) }
        say(fileWatchCount == 0 ? "none kept" : "\(fileWatchCount) kept")
    }

    private static var fileWatchCount: Int {
        (0..<1024 as Range<CInt>).count { number in
            var target = [CChar](repeating: 0, count: 64)
            guard readlink("/proc/self/fd/\(number)", &target, 63) > 0 else { return false }
            return String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
                == "anon_inode:inotify"
        }
    }

    static func activation() {
        let sockets = SocketActivation.take()
        for socket in sockets {
            let flags = fcntl(socket.descriptor.rawValue, F_GETFD)
            print(socket.descriptor.rawValue, socket.name, flags & FD_CLOEXEC != 0 ? "cloexec" : "inherited")
        }
        say("left in environment: \(getenv("LISTEN_FDS") == nil ? "nothing" : "LISTEN_FDS")")
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

    /// Lets `body` run with a lower limit of this process.
    static func withLimit(_ resource: Int, _ value: rlim_t, _ body: () -> Void) {
        var before = rlimit()
        getrlimit(__rlimit_resource_t(resource), &before)
        var lower = rlimit(rlim_cur: value, rlim_max: before.rlim_max)
        setrlimit(__rlimit_resource_t(resource), &lower)
        body()
        setrlimit(__rlimit_resource_t(resource), &before)
    }

    /// A connection waits, but no descriptor is free to accept it.
    static func exhausted(_ path: FilePath) throws {
        let listener = try StreamListener(.unix(path))
        let client = try StreamSocket.connect(to: .unix(path))
        let next = dup(0)
        close(next)
        withLimit(7, rlim_t(next)) {
            do throws(IPCError) {
                _ = try listener.tryAccept()
            } catch {
                print(error.code, error.advice.contains("ulimit -n") ? "ulimit" : error.advice)
            }
        }
        say(try listener.tryAccept() != nil ? "accepted" : "lost")
        try client.close()
        listener.close()
    }

    static func queueLimit(_ name: String) {
        withLimit(12, 1000) {
            do throws(IPCError) {
                _ = try MessageQueue.create(name, maximumMessages: 5, messageSize: 1024)
                print("no error")
            } catch {
                print(error.code, error.advice)
            }
        }
    }

    /// Real-time signals queue up to the user's limit.
    static func signalLimit() throws {
        // Pending, and not handed to the source at once.
        SignalSet([.realTime(1)]).blockInCallingThread()
        let signals = try SignalSource([.realTime(1)])
        let own = try ProcessHandle(getpid())
        // Others of this user may have some queued.
        let queued = status("SigQ").split(separator: "/").first.flatMap { rlim_t($0) } ?? 0
        withLimit(11, queued + 50) {
            do throws(IPCError) {
                for value in 0..<100_000 { try own.queue(.realTime(1), value: value) }
                print("no error")
            } catch {
                print(error.code, error.advice.contains("ulimit -i") ? "ulimit" : error.advice)
            }
        }
        say("first \(try signals.next(until: .after(.seconds(10))).value)")
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

    /// Connections that signals interrupt go on, and are used.
    static func stormConnect(_ endpoint: Endpoint) throws {
        startStorm()
        for _ in 0..<200 {
            let socket = try StreamSocket.connect(to: endpoint, until: .after(.seconds(10)))
            try socket.write(([1] as [UInt8]).span.bytes)
            try socket.finishWriting()
            _ = try socket.readToEnd(until: .after(.seconds(10)))
        }
        say("connected")
    }

    /// An inherited socket tells who made the connection, not who has the other end now.
    static func credentials() throws {
        let socket = try StreamSocket(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: 3)))
        say(try socket.peerCredentials.process == getppid() ? "parent" : "other")
    }
}
