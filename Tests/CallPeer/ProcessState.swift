import Glibc
import IPC
import SystemSupport
import TestSupport

/// A line of `/proc/self/maps`.
private struct Mapping {
    /// In words, if it has a file's name.
    var thing: String?
    var isAnonymous = false
    var byteCount = 0

    /// Most lines are those of the last time: thousands of looks at a hundred lines each took half of these tests' time.
    private nonisolated(unsafe) static var known = {
        var known: [Substring: Mapping] = [:]
        // At once, since what grows here would be found to have grown.
        known.reserveCapacity(maximumKnown)
        return known
    }()
    private static let maximumKnown = 1000

    /// Not by several threads at once.
    static func read(_ line: Substring) -> Mapping {
        if let mapping = known[line] { return mapping }
        let fields = line.split(separator: " ", omittingEmptySubsequences: true)
        let range = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        var mapping = Mapping(byteCount: Int(range[1] - range[0]))
        if fields.count > 5, fields[5].hasPrefix("/") {
            mapping.thing = "mapping \(fields[1]) of \(fields[5...].joined(separator: " ")), \(mapping.byteCount) bytes"
        }
        mapping.isAnonymous = fields.count == 5
        if known.count >= maximumKnown { known.removeAll(keepingCapacity: true) }
        // A string of its own, not a part of all that was read.
        known[Substring(String(line))] = mapping
        return mapping
    }
}

/// What this process has of the system, to be compared.
struct ProcessState {
    /// In words, each as often as it is there: descriptors by what they name and lock, mappings that have a name, files, children,
    /// threads, actions for signals.
    private var things: [String: Int] = [:]
    /// Bytes of mappings without a name: stacks and the allocator's, which come and go a little, and reserved address space.
    private let anonymous: Int

    /// What is kept for a second, for whoever needs it next, and by whom.
    private static let spares = ["descriptor of anon_inode:inotify": 2, "thread": 1]
    /// Less is noise.
    private static let anonymousTolerance = 64 << 10

    init() {
        var things: [String: Int] = [:]
        func add(_ thing: String) { things[thing, default: 0] += 1 }
        for number in names(in: "/proc/self/fd") {
            // Without the one that lists them.
            guard let target = linkTarget("/proc/self/fd/" + number) else { continue }
            if target.hasSuffix("/fd") { continue }
            add("descriptor of \(target)")
            for line in contents("/proc/self/fdinfo/" + number).split(separator: "\n") where line.hasPrefix("lock:") {
                // Without its number in the list of locks, which other processes change.
                add("lock of \(target):\(line.split(separator: ":", maxSplits: 2).last!)")
            }
        }
        var anonymous = 0
        for line in contents("/proc/self/maps").utf8.split(separator: UInt8(ascii: "\n")) {
            let mapping = Mapping.read(Substring(line))
            if let thing = mapping.thing { add(thing) } else if mapping.isAnonymous { anonymous += mapping.byteCount }
        }
        for folder in [scratchFolder, channelRoot] { for path in files(below: folder) { add("file \(path)") } }
        for name in names(in: "/dev/shm") where name.contains(namePrefix) { add("file /dev/shm/\(name)") }
        for name in GivenNames.objects ?? [] where (try? MessageQueue.open(name)) != nil {
            add("message queue \(name)")
        }
        // By the process that made them.
        for line in contents("/proc/sysvipc/shm").split(separator: "\n").dropFirst() {
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            if fields.count > 4, fields[4] == "\(getpid())" { add("System V segment of \(fields[3]) bytes") }
        }
        for task in names(in: "/proc/self/task") {
            add("thread")
            for child in contents("/proc/self/task/\(task)/children").split(separator: " ") { add("child \(child)") }
        }
        for signal in 1...CInt(64) {
            let action = support_action_number(signal)
            if action != 0 { add("action for signal \(signal), \(action)") }
        }
        self.things = things
        self.anonymous = anonymous
    }

    /// What is not as it was.
    ///
    /// - Parameter keptPipes: How many wake-up pipes participants may have, which they keep for their next wait.
    func differences(from before: ProcessState, keptPipes: Int = 0) -> [String] {
        var found: [String] = []
        func look(_ word: String, _ some: [String: Int], _ others: [String: Int]) {
            for (thing, count) in some where count > others[thing, default: 0] + Self.spares[thing, default: 0] {
                found.append("\(word): \(thing)")
            }
        }
        look("more", things, before.things)
        for kind in ["file", "descriptor"] {
            let pipes = found.filter { $0.hasPrefix("more: \(kind) ") && $0.contains("/.wake-") }
            if pipes.count <= keptPipes { found.removeAll { pipes.contains($0) } }
        }
        // Swift's runtime lets go of threads that it has no use for.
        look("less", before.things.filter { $0.key != "thread" }, things)
        if anonymous > before.anonymous + Self.anonymousTolerance {
            found.append("more: \(anonymous - before.anonymous) bytes of address space")
        }
        return found.sorted()
    }
}

/// The names that were given to the present attempt, if there is one.
enum GivenNames {
    /// Of shared memory, semaphores and queues. Queues can be listed nowhere.
    nonisolated(unsafe) static var objects: [String]?
    nonisolated(unsafe) static var paths: [String]?

    static func begin() { (objects, paths) = ([], []) }
}

private func names(in folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafePointer(to: &entry.pointee.d_name.0) { String(cString: $0) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

private func files(below folder: String) -> [String] {
    var found: [String] = []
    for name in names(in: folder) {
        let path = folder + "/" + name
        found.append(path)
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { found += files(below: path) }
    }
    return found
}

private func linkTarget(_ path: String) -> String? {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) { bytes in
        let count = readlink(path, bytes.baseAddress!, bytes.count)
        return count < 0 ? nil : String(decoding: UnsafeBufferPointer(rebasing: bytes[..<count]), as: UTF8.self)
    }
}

private func contents(_ path: String) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    return withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { part in
        var bytes: [UInt8] = []
        while case let count = read(descriptor, part.baseAddress!, part.count), count > 0 {
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: part[..<count]))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
