import Glibc

/// Who holds a lock on a file, as far as this process may know.
package enum LockHolders {
    /// For an error: that somebody holds it, and what to do.
    ///
    /// - Parameter descriptor: Of the file.
    package static func told(_ descriptor: CInt, _ path: String) -> String {
        let others: String
        do throws(IPCError) {
            let processes = try find(descriptor, path)
            if processes == [getpid()] {
                return "another thread of this process holds a lock on \(path)"
            }
            guard processes.isEmpty else {
                let names = processes.map { "process \($0)\($0 == getpid() ? " (this one)" : "")" }
                let them = processes.count == 1 ? "it" : "them"
                return
                    "\(names.joined(separator: " and ")) \(processes.count == 1 ? "holds" : "hold") a lock on \(path): if \(them == "it" ? "it is" : "they are") stopped, resume \(them) (kill -CONT), or end \(them)"
            }
            others = "a process of another user or another container"
        } catch {
            others = "another process"
        }
        return
            "\(others) holds a lock on \(path): find it as the superuser (lslocks, or fuser \(path)), then resume it, or end it"
    }

    /// The processes that hold a lock of any kind on a file. The kernel tells of the locks of an open file description only there
    /// where it is open (`F_OFD_GETLK` and `/proc/locks` say -1), which takes permission to look into the process.
    private static func find(_ descriptor: CInt, _ path: String) throws(IPCError) -> [pid_t] {
        let file = try FileStatus(of: descriptor, path)
        let inode = ":\(file.identity[1]) "
        var holders: [pid_t] = []
        for name in try namesInFolder("/proc") {
            guard let process = pid_t(name) else { continue }
            let folder = "/proc/\(name)/fd"
            guard let descriptors = try? namesInFolder(folder) else { continue }
            let holds = descriptors.contains { number in
                // The inode alone may be another file system's.
                guard (try? FileStatus(at: "\(folder)/\(number)"))?.identity == file.identity else { return false }
                return text("/proc/\(name)/fdinfo/\(number)").split(separator: "\n").contains {
                    $0.hasPrefix("lock:") && $0.contains(inode)
                }
            }
            if holds { holders.append(process) }
        }
        return holders.sorted()
    }

    /// Empty if it cannot be read.
    private static func text(_ path: String) -> String {
        guard case .success(let raw) = openFile(.init(path), O_RDONLY) else { return "" }
        let file = OwnedDescriptor(adopting: raw)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = retryingInterrupts { unsafe read(file.rawValue, &bytes, bytes.count) }
        guard case .success(let count) = count else { return "" }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
