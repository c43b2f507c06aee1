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
            Processes that use an object keep it; processes that open the name later get a new object. If objects of several \
            kinds have the name, --kind is required. The dead letters of a queue are kept, and a note says so; \
            ipc rm QUEUE/dead-letters removes them.

            Examples:
              ipc rm market/quotes
              ipc rm --kind mq /jobs
            """)

    @Argument(help: "Names, as ipc ls prints them.", completion: ChannelCompletion.anyPattern) var names: [String]
    @Option(help: "Kind of the objects, if several have the name.") var kind: SystemObject.Kind?

    func perform() async throws {
        // All are looked at before the first is removed.
        let kinds = try names.map { (name) throws(IPCError) in try resolve(name) }
        for (name, kind) in zip(names, kinds) {
            guard kind == .channel else {
                try Removal.remove(name, kind)
                continue
            }
            let letters = LettersLeft(of: name)
            try Removal.remove(name, kind)
            if !names.contains(letters.name) { letters.settle() }
        }
    }

    private func resolve(_ name: String) throws(IPCError) -> SystemObject.Kind {
        var (isChannel, refusal): (Bool, IPCError?) = (false, nil)
        do throws(IPCError) { isChannel = try ChannelRoot.current.names().contains { $0.description == name } } catch {
            // Something else of this name may be meant.
            if kind == nil || kind == .channel, (try? ChannelName(name)) != nil { refusal = error }
        }
        let all: [(SystemObject.Kind, Bool)] = [
            (.channel, isChannel),
            (.shm, name.hasPrefix("/") && ProcFiles.status("/dev/shm" + name)?.isRegularFile == true),
            (.sem, name.hasPrefix("/") && ProcFiles.status("/dev/shm/sem." + name.dropFirst()) != nil),
            (.mq, name.hasPrefix("/") && Self.isMessageQueue(name)),
            (.fifo, ProcFiles.status(name)?.isFIFO == true),
            (.unix, ProcFiles.status(Removal.path(name))?.isSocket == true),
        ]
        let found = all.filter(\.1).map(\.0).filter { kind == nil || $0 == kind }
        guard found.count <= 1 else {
            throw IPCError(
                .invalidArgument, "remove", name,
                advice: "the name is that of \(found.map(\.rawValue).joined(separator: " and ")); choose with --kind")
        }
        guard let only = found.first else {
            if let refusal { throw refusal }
            throw IPCError(
                .notFound, "remove", name,
                advice:
                    "there is no \(kind?.rawValue ?? "channel, object, FIFO or socket file") of this name; ipc ls lists all objects"
            )
        }
        return only
    }

    /// One that may not be read may be removed.
    private static func isMessageQueue(_ name: String) -> Bool {
        do throws(IPCError) { _ = try MessageQueue.open(name, access: .readOnly) } catch {
            return error.code == .permissionDenied
        }
        return true
    }
}

/// `ipc clean`: what only the dead have left.
struct CleanCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "clean", abstract: "Remove what only dead processes have left, after asking.",
        discussion: """
            It removes channels that end with their last participant and whose participants are all dead, and those of the \
            given socket files on which no process listens. Shared memory, semaphores and queues that no process uses may be \
            kept on purpose: remove them by name, with ipc rm. Programs can start again without this command.
            """)

    @Argument(help: "Socket files to check.") var files: [String] = []
    @Flag(help: "Remove without asking.") var yes = false

    func perform() async throws {
        let inventory = Inventory([.channel])
        var dead = inventory.objects.filter { $0.staleness != nil }
        for file in files {
            guard try !UnixSocketFile.isServed(FilePath(file)) else { continue }
            var object = SystemObject(kind: .unix, name: file)
            object.staleness = "no process listens on it"
            dead.append(object)
        }
        guard !dead.isEmpty else {
            try inventory.tellFailure()
            return printError("ipc: found nothing that only dead processes have left")
        }
        for object in dead { printError("\(object.kind.rawValue)  \(object.name)  (\(object.staleness ?? ""))") }
        if !yes {
            guard isatty(STDIN_FILENO) == 1 else {
                throw ValidationError("cannot ask: standard input is not a terminal; pass --yes to remove them.")
            }
            printError("Remove \(dead.count == 1 ? "it" : "these \(dead.count)")? [y/N] ", terminator: "")
            guard readLine()?.lowercased().hasPrefix("y") == true else { throw ExitCode(1) }
        }
        for object in dead {
            if object.kind == .channel {
                // Looked at once more, under its lock: somebody may have joined while we asked.
                if try !ChannelRoot.current.removeIfDead(ChannelName(object.name)) {
                    printError("ipc: \(object.name) is used again, and is not removed")
                }
            } else if try !UnixSocketFile.removeIfDead(FilePath(object.name), until: .after(.seconds(5))) {
                // A server may have started while we asked.
                printError("ipc: \(object.name) is used again, and is not removed")
            }
        }
        try inventory.tellFailure()
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
        case .fifo: try NamedPipe.open(FilePath(name)).unlink()
        case .unix:
            guard unsafe Glibc.unlink(path(name)) == 0 else { throw IPCError("unlink", name, Errno(rawValue: errno)) }
        case .sysv, .pipe, .tcp, .udp:
            throw IPCError(.unsupported, "remove", name, advice: "a \(kind.rawValue) has no name to remove")
        }
    }
}
