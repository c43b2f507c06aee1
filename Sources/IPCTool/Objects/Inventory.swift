import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// All that exists here now, and who uses it.
struct Inventory {
    let objects: [SystemObject]
    /// What could not be looked at, and why.
    private(set) var notes: [String] = []
    /// The first that should have been possible: then this is not all that there is.
    private(set) var failure: IPCError?

    init(_ kinds: Set<SystemObject.Kind>) {
        let files = OpenFiles()
        var (objects, notes): ([SystemObject], [String]) = ([], [])
        if kinds.contains(.channel) {
            let (channels, failures) = Self.channels()
            objects += channels
            notes += failures.map { "\($0)" }
            failure = failures.first
        }
        if !kinds.isDisjoint(with: [.shm, .sem]) {
            objects += Self.sharedMemory(files).filter { kinds.contains($0.kind) }
        }
        if kinds.contains(.mq) { objects += Self.messageQueues(files, &notes) }
        if kinds.contains(.sysv) { objects += Self.systemV() }
        if !kinds.isDisjoint(with: [.fifo, .pipe]) { objects += Self.pipes(files).filter { kinds.contains($0.kind) } }
        if kinds.contains(.unix) { objects += Self.unixSockets(files) }
        for (kind, tables) in [(SystemObject.Kind.tcp, ["tcp", "tcp6"]), (.udp, ["udp", "udp6"])]
        where kinds.contains(kind) {
            for table in tables { objects += Self.internetSockets(kind, table, files) }
        }
        self.objects = objects
        self.notes = notes
    }

    // MARK: Channels

    private static func channels() -> (objects: [SystemObject], failures: [IPCError]) {
        let root = ChannelRoot.current
        let names: [ChannelName]
        do throws(IPCError) { names = try root.names() } catch { return ([], [error]) }
        var (objects, failures): ([SystemObject], [IPCError]) = ([], [])
        for name in names {
            do throws(IPCError) { objects.append(object(try ChannelDescription(name, in: root))) } catch {
                // One that goes meanwhile is not there.
                if isToBeTold(error, name, in: root) { failures.append(error) }
            }
        }
        return (objects, failures)
    }

    /// Says what could not be looked at, and ends with its exit code if that should have been possible.
    func tellFailure() throws {
        for note in notes { printError("ipc: \(note)") }
        if let failure { throw ExitCode(failure.exitCode) }
    }

    /// Whether it is news that a channel cannot be looked at: not if it has gone, nor if it is another user's own.
    static func isToBeTold(_ error: IPCError, _ name: ChannelName, in root: ChannelRoot) -> Bool {
        if error.code == .notFound { return false }
        return error.code != .permissionDenied || ProcFiles.status(root.folder(name))?.owner == geteuid()
    }

    static func object(_ channel: ChannelDescription) -> SystemObject {
        let living = channel.participants.filter(\.isAlive)
        var object = SystemObject(kind: .channel, name: channel.name.description)
        object.size = channel.attributes.capacity
        object.depth = channel.pattern == .event ? "\(channel.pendingNotices)" : "\(channel.messageCount)"
        object.holders = Set(living.map(\.process)).sorted()
        object.detail = "\(channel.pattern), \(channel.messageType)"
        if let work = channel.workText { object.detail? += ", \(work)" }
        if let status = ProcFiles.status(ChannelRoot.current.folder(channel.name) + "/control") {
            object.mode = status.mode.octal
            object.owner = UserName.of(status.owner)
        }
        if living.isEmpty, channel.attributes.lifetime == .whileUsed, channel.attributes.durability == .none {
            object.staleness = "all its participants are dead"
        }
        return object
    }

    // MARK: POSIX objects

    private static func sharedMemory(_ files: OpenFiles) -> [SystemObject] {
        ProcFiles.names(in: "/dev/shm").compactMap { name in
            let path = "/dev/shm/" + name
            guard let status = ProcFiles.status(path), status.isRegularFile else { return nil }
            let isSemaphore = name.hasPrefix("sem.")
            var object = SystemObject(
                kind: isSemaphore ? .sem : .shm, name: "/" + (isSemaphore ? String(name.dropFirst(4)) : name))
            object.size = status.size
            object.mode = status.mode.octal
            object.owner = UserName.of(status.owner)
            object.holders = files.holders(of: path, inode: status.identity[1])
            // Read from its file: whoever made it could cut it short under a mapping.
            if isSemaphore, let value = try? NamedSemaphore.readValue(object.name) { object.depth = "\(value)" }
            return object
        }
    }

    private static func messageQueues(_ files: OpenFiles, _ notes: inout [String]) -> [SystemObject] {
        guard ProcFiles.text("/proc/mounts")?.contains(" /dev/mqueue mqueue ") == true else {
            notes.append(
                "message queues are not listed: /dev/mqueue is not mounted; run mount -t mqueue none /dev/mqueue "
                    + "(ipc mq info NAME works without it)"
            )
            return []
        }
        return ProcFiles.names(in: "/dev/mqueue").map { name in
            var object = messageQueue("/" + name) ?? SystemObject(kind: .mq, name: "/" + name)
            if let status = ProcFiles.status("/dev/mqueue/" + name) {
                object.mode = status.mode.octal
                object.owner = UserName.of(status.owner)
            }
            object.holders = Array(Set(files.holders(of: object.name) + files.holders(of: "/dev/mqueue/" + name)))
                .sorted()
            return object
        }
    }

    /// What can be known of one without the file system of message queues; nil if it cannot be opened.
    static func messageQueue(_ name: String) -> SystemObject? {
        guard name.hasPrefix("/"), let queue = try? MessageQueue.open(name, access: .readOnly) else { return nil }
        var object = SystemObject(kind: .mq, name: name)
        if let attributes = try? queue.attributes {
            object.depth = "\(attributes.currentMessages)/\(attributes.maximumMessages)"
            object.size = attributes.maximumMessages * attributes.messageSize
        }
        return object
    }

    private static func systemV() -> [SystemObject] {
        var objects: [SystemObject] = []
        for (table, what) in [("shm", "shared memory"), ("sem", "semaphores"), ("msg", "messages")] {
            let lines = ProcFiles.lines("/proc/sysvipc/\(table)").map { $0.split(separator: " ") }
            guard let head = lines.first else { continue }
            for row in lines.dropFirst() {
                func field(_ name: String) -> Int? {
                    head.firstIndex { $0 == name }.flatMap { $0 < row.count ? Int(row[$0]) : nil }
                }
                var object = SystemObject(kind: .sysv, name: "\(table):\(field(table + "id") ?? -1)")
                object.size = field("size") ?? field("cbytes")
                object.depth = (field("nattch") ?? field("qnum") ?? field("nsems")).map { "\($0)" }
                object.mode = field("perms").map { String(repeating: "0", count: max(0, 4 - "\($0)".count)) + "\($0)" }
                object.owner = field("uid").map { UserName.of(uid_t($0)) }
                object.holders = [field("cpid"), field("lpid"), field("lspid"), field("lrpid")].compactMap { $0 }
                    .filter { $0 > 0 && ProcFiles.status("/proc/\($0)") != nil }.map { Int32($0) }
                object.detail = "System V \(what)"
                objects.append(object)
            }
        }
        return objects
    }

    // MARK: Pipes and sockets

    private static func pipes(_ files: OpenFiles) -> [SystemObject] {
        files.byLink.compactMap { link, holders in
            if link.hasPrefix("pipe:") {
                var object = SystemObject(kind: .pipe, name: link)
                object.holders = holders.sorted()
                return object
            }
            guard link.hasPrefix("/"), let status = ProcFiles.status(link), status.isFIFO else {
                return nil
            }
            var object = SystemObject(kind: .fifo, name: link)
            object.mode = status.mode.octal
            object.owner = UserName.of(status.owner)
            object.holders = holders.sorted()
            return object
        }.sorted { $0.name < $1.name }
    }

    private static func unixSockets(_ files: OpenFiles) -> [SystemObject] {
        ProcFiles.lines("/proc/net/unix").dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 7 else { return nil }
            let path = fields.count > 7 ? fields[7...].joined(separator: " ") : ""
            let isListening = fields[3] == "00010000"
            // Those without a name are the other ends of those that have one.
            guard !path.isEmpty else { return nil }
            let isAbstract = path.hasPrefix("@")
            var object = SystemObject(
                kind: .unix, name: isAbstract ? "unix-abstract:" + path.dropFirst() : "unix://" + path)
            if !isAbstract, let status = ProcFiles.status(path) {
                object.mode = status.mode.octal
                object.owner = UserName.of(status.owner)
            }
            object.holders = (files.byLink["socket:[\(fields[6])]"] ?? []).sorted()
            let types = ["0001": "stream", "0002": "datagram", "0005": "seqpacket"]
            object.detail = (types[String(fields[4])] ?? "socket") + (isListening ? ", listening" : "")
            return object
        }
    }

    private static func internetSockets(
        _ kind: SystemObject.Kind, _ table: String, _ files: OpenFiles
    ) -> [SystemObject] {
        ProcFiles.lines("/proc/net/" + table).dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 9 else { return nil }
            let states = ["01": "connected", "0A": "listening", "06": "time-wait", "08": "close-wait"]
            let peer = address(fields[2])
            var object = SystemObject(kind: kind, name: "\(kind.rawValue)://\(address(fields[1]))")
            object.owner = uid_t(fields[7]).map { UserName.of($0) }
            let queued = fields[4].split(separator: ":").compactMap { Int($0, radix: 16) }
            object.depth = queued.count == 2 ? "\(queued[1])" : nil
            object.holders = (files.byLink["socket:[\(fields[9])]"] ?? []).sorted()
            let state = kind == .tcp ? states[String(fields[3])] ?? "state \(fields[3])" : nil
            object.detail = [state, peer.hasSuffix(":0") ? nil : "to \(peer)"].compactMap { $0 }.joined(separator: " ")
            return object
        }
    }

    /// `0100007F:1F90` is `127.0.0.1:8080`.
    private static func address(_ text: Substring) -> String {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1], radix: 16) else { return String(text) }
        let digits = Array(parts[0])
        // Words in the machine's byte order.
        let bytes = stride(from: 0, to: digits.count, by: 8).flatMap { start -> [UInt8] in
            let word = UInt32(String(digits[start..<min(start + 8, digits.count)]), radix: 16) ?? 0
            return (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
        if bytes.count == 4 { return bytes.map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        var buffer = [CChar](repeating: 0, count: 64)
        unsafe inet_ntop(AF_INET6, bytes, &buffer, socklen_t(buffer.count))
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "[\(name)]:\(port)"
    }
}
