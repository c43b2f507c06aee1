import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// `ipc rm`: names.
struct RemoveCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove channels, shared memory, semaphores, message queues, FIFOs and socket files by name.",
        discussion: """
            Who uses one goes on with it; new ones get a new one. A name that several kinds have needs --kind.

            Examples:
              ipc rm market/quotes
              ipc rm --kind mq /jobs
            """)

    @Argument(help: "Names, as ipc ls prints them.") var names: [String]
    @Option(help: "Which kind is meant.") var kind: SystemObject.Kind?

    func perform() async throws {
        // All are looked at before the first is removed.
        let kinds = try names.map { (name) throws(IPCError) in try resolve(name) }
        for (name, kind) in zip(names, kinds) { try Removal.remove(name, kind) }
    }

    private func resolve(_ name: String) throws(IPCError) -> SystemObject.Kind {
        let all: [(SystemObject.Kind, Bool)] = [
            (.channel, ((try? ChannelRoot.current.names()) ?? []).contains { $0.description == name }),
            (.shm, name.hasPrefix("/") && ProcFiles.status("/dev/shm" + name)?.isRegularFile == true),
            (.sem, name.hasPrefix("/") && ProcFiles.status("/dev/shm/sem." + name.dropFirst()) != nil),
            (.mq, name.hasPrefix("/") && (try? MessageQueue.open(name, .readOnly)) != nil),
            (.fifo, ProcFiles.status(name)?.isFIFO == true),
            (.unix, ProcFiles.status(Removal.path(name))?.isSocket == true),
        ]
        let found = all.filter(\.1).map(\.0).filter { kind == nil || $0 == kind }
        guard found.count <= 1 else {
            throw IPCError(
                .invalidArgument, "remove", name,
                advice: "it is \(found.map(\.rawValue).joined(separator: " and ")); say which with --kind")
        }
        guard let only = found.first else {
            throw IPCError(
                .notFound, "remove", name,
                advice:
                    "there is no \(kind?.rawValue ?? "channel, object, FIFO or socket file") of this name; ipc ls lists what there is"
            )
        }
        return only
    }
}

/// `ipc clean`: what only the dead have left.
struct CleanCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "clean", abstract: "Remove what is provably dead, after showing it.",
        discussion: """
            That is: channels that were to go with their last participant, whose participants are all dead; and socket files
            among the arguments on which nobody listens. Shared memory, semaphores and queues without a process may be meant to
            stay: remove those by name. Nothing here has to be cleaned for a program to start again.
            """)

    @Argument(help: "Socket files to look at.") var files: [String] = []
    @Flag(help: "Remove without asking.") var yes = false

    func perform() async throws {
        var dead = Inventory([.channel]).objects.filter { $0.staleness != nil }
        for file in files {
            guard ProcFiles.status(file)?.isSocket == true else {
                throw IPCError(.wrongType, "clean", file, advice: "this is no socket file; give the path of one")
            }
            guard try await Self.isRefused(file) else { continue }
            var object = SystemObject(kind: .unix, name: file)
            object.staleness = "nobody listens on it"
            dead.append(object)
        }
        guard !dead.isEmpty else { return printError("ipc: nothing here is provably dead") }
        for object in dead { printError("\(object.kind.rawValue)  \(object.name)  (\(object.staleness ?? ""))") }
        if !yes {
            guard isatty(STDIN_FILENO) == 1 else {
                throw ValidationError("this is no terminal to ask on: pass --yes to remove them.")
            }
            printError("Remove \(dead.count == 1 ? "it" : "these \(dead.count)")? [y/N] ", terminator: "")
            guard readLine()?.lowercased().hasPrefix("y") == true else { throw ExitCode(1) }
        }
        for object in dead {
            if object.kind == .channel {
                // Looked at once more, under its lock: somebody may have joined while we asked.
                if try !ChannelRoot.current.removeIfDead(ChannelName(object.name)) {
                    printError("ipc: \(object.name) is used again, and stays")
                }
            } else if try !UnixSocketFile.removeIfDead(FilePath(object.name), until: .after(.seconds(5))) {
                // Likewise, under the lock that servers bind under.
                printError("ipc: \(object.name) is used again, or gone, and was left alone")
            }
        }
    }

    private static func isRefused(_ file: String) async throws(IPCError) -> Bool {
        do throws(IPCError) {
            try await StreamSocket.connect(to: .unix(FilePath(file)), until: .after(.seconds(1))).close()
        } catch {
            guard error.code == .connectionRefused else { throw error }
            return true
        }
        return false
    }
}

enum Removal {
    static func path(_ name: String) -> String { name.hasPrefix("unix://") ? String(name.dropFirst(7)) : name }

    static func remove(_ name: String, _ kind: SystemObject.Kind) throws(IPCError) {
        switch kind {
        case .channel: try Topic<RawBytes>.remove(name)
        case .shm: try SharedMemory.unlink(name)
        case .sem: try NamedSemaphore.unlink(name)
        case .mq: try MessageQueue.unlink(name)
        case .fifo: try NamedPipe(FilePath(name)).unlink()
        case .unix:
            guard unsafe Glibc.unlink(path(name)) == 0 else { throw IPCError("unlink", name, Errno(rawValue: errno)) }
        case .sysv, .pipe, .tcp, .udp:
            throw IPCError(.unsupported, "remove", name, advice: "a \(kind.rawValue) has no name to be removed")
        }
    }
}
