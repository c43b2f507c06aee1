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
        case "idle": try IdleCosts.run(arguments[1], Int(arguments[2])!)
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
        case "serve-many":
            let address = try Endpoint(arguments[1])
            ProcessRoles.run { try await ServeRoles.many(address) }
        case "serve-failing":
            let address = try Endpoint(arguments[1])
            ProcessRoles.run { try await ServeRoles.failing(address) }
        case "serve-exhausted":
            let address = try Endpoint(arguments[1])
            ProcessRoles.run { try await ServeRoles.exhausted(address) }
        case "wide-permissions": try PermissionRoles.wide(arguments[1])
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

    static func listen(_ endpoint: Endpoint) throws {
        guard let listener = try? StreamListener(endpoint) else { exit(1) }
        say("ready")
        while true {
            let connection = try listener.accept()
            try? connection.write("hello".utf8.span.bytes)  // who only looks whether we live has gone already
        }
    }

    static let stormChunk = 100_000

    static func activation() {
        let sockets = SocketActivation.take()
        for socket in sockets {
            let flags = fcntl(socket.descriptor.rawValue, F_GETFD)
            print(socket.descriptor.rawValue, socket.name, flags & FD_CLOEXEC != 0 ? "cloexec" : "inherited")
        }
        say("left in environment: \(getenv("LISTEN_FDS") == nil ? "nothing" : "LISTEN_FDS")")
    }

    /// An inherited socket tells who made the connection, not who has the other end now.
    static func credentials() throws {
        let socket = try StreamSocket(adopting: OwnedDescriptor(adopting: FileDescriptor(rawValue: 3)))
        say(try socket.peerCredentials.process == getppid() ? "parent" : "other")
    }
}
