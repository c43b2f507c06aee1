import Glibc
import IPC
import SystemPackage

/// Files and folders of `/proc` and `/dev`, as text.
enum ProcFiles {
    /// None if it cannot be looked into.
    static func names(in folder: String) -> [String] { (try? namesInFolder(folder)) ?? [] }

    static func bytes(_ path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe read(descriptor, &chunk, chunk.count)
            if count <= 0 { return bytes }
            bytes += chunk[..<count]
        }
    }

    static func text(_ path: String) -> String? { bytes(path).map { String(decoding: $0, as: UTF8.self) } }

    static func lines(_ path: String) -> [Substring] { text(path)?.split(separator: "\n") ?? [] }

    /// Where a link leads; bytes that are not UTF-8 as `\xff`.
    static func link(_ path: String) -> String? { linkBytes(path).map { escapingInvalidBytes($0) } }

    static func linkBytes(_ path: String) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe readlink(path, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// Not following a symbolic link; nil if there is nothing, or it may not be known.
    static func status(_ path: String) -> FileStatus? { try? FileStatus(at: path, followingLinks: false) }

    /// A process's command, as people know it.
    static func command(_ process: Int32) -> String {
        text("/proc/\(process)/comm").map { String($0.prefix { $0 != "\n" }) } ?? "?"
    }

    /// Whether a signal, or a debugger, has stopped it.
    static func isStopped(_ process: Int32) -> Bool {
        // `pid (name) state …`, and the name may have parentheses.
        guard let text = text("/proc/\(process)/stat"), let end = text.lastIndex(of: ")") else { return false }
        let state = text[end...].dropFirst(2).first
        return state == "T" || state == "t"
    }

    /// A process as messages name it: `process 123 (cat, stopped)`. Its command is what it says of itself: control characters are escaped.
    static func description(_ process: Int32) -> String {
        guard status("/proc/\(process)") != nil else { return "process \(process) (gone)" }
        return
            "process \(process) (\(command(process).escapingControls), \(isStopped(process) ? "stopped" : "running"))"
    }
}

/// Who has what open: all processes that may be looked into, once.
struct OpenFiles {
    /// By what a descriptor's link says: `pipe:[123]`, `socket:[456]`, `/jobs`, `/tmp/fifo`.
    private(set) var byLink: [String: Set<Int32>] = [:]
    /// Of what is mapped from `/dev/shm`, by its inode: who makes a semaphore maps it under another name.
    private var byInode: [UInt64: Set<Int32>] = [:]

    init() {
        for name in ProcFiles.names(in: "/proc") {
            guard let process = Int32(name) else { continue }
            for descriptor in ProcFiles.names(in: "/proc/\(name)/fd") {
                guard let link = ProcFiles.link("/proc/\(name)/fd/\(descriptor)") else { continue }
                if link.hasPrefix("/") || link.hasPrefix("pipe:") || link.hasPrefix("socket:") {
                    byLink[link, default: []].insert(process)
                }
            }
            addMappings(process)
        }
    }

    /// By bytes: the files are long, and there are many.
    private mutating func addMappings(_ process: Int32) {
        guard let bytes = ProcFiles.bytes("/proc/\(process)/maps") else { return }
        let wanted = Array("/dev/shm/".utf8)
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let slash = line.firstIndex(of: UInt8(ascii: "/")), line[slash...].starts(with: wanted) else {
                continue
            }
            // Addresses, permissions, offset, device, inode.
            let fields = line[..<slash].split(separator: UInt8(ascii: " "))
            guard fields.count >= 5, let inode = UInt64(String(decoding: fields[4], as: UTF8.self)) else { continue }
            byInode[inode, default: []].insert(process)
        }
    }

    /// Those that have a file open or mapped.
    func holders(of path: String, inode: UInt64? = nil) -> [Int32] {
        (byLink[path] ?? []).union(inode.flatMap { byInode[$0] } ?? []).sorted()
    }
}
