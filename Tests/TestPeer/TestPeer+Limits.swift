import Glibc
import IPC
import SystemPackage
import SystemSupport

// Without descriptors, signals or queues to spare.
extension TestPeer {
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

    /// Opens a named pipe that nobody else opens, and waits until what it watched with is closed.
    static func lateOpenings(_ path: FilePath) throws {
        let pipe = try NamedPipe.create(path)
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

    private static var fileWatchCount: Int {
        (0..<1024 as Range<CInt>).count { number in
            var target = [CChar](repeating: 0, count: 64)
            guard readlink("/proc/self/fd/\(number)", &target, 63) > 0 else { return false }
            return String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
                == "anon_inode:inotify"
        }
    }
}
