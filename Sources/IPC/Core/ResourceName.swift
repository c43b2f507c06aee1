import Glibc
import SystemPackage

/// A name in the system's space for POSIX objects, checked: `/jobs`.
///
/// Shared memory, message queues and named semaphores each have such a space of their own. A name starts with one
/// slash, holds no other, and has at most 255 bytes (251 for a semaphore, which the C library prefixes with `sem.`).
public struct ResourceName: Hashable, Sendable, CustomStringConvertible {
    /// The name as the C functions take it, with its slash.
    public let description: String

    /// Checks a name.
    ///
    /// - Parameter name: The name. A missing first slash is added, since `jobs` cannot mean anything else.
    /// - Throws: ``IPCError/Code/invalidName`` if it is empty, too long, or holds another slash or a zero byte.
    public init(_ name: String) throws(IPCError) { try self.init(name, maximumBytes: 255) }

    package init(_ name: String, maximumBytes: Int) throws(IPCError) {
        let base = name.hasPrefix("/") ? name.dropFirst() : name[...]
        func invalid(_ reason: String) -> IPCError { IPCError(.invalidName, "name", name, advice: reason) }
        guard !base.isEmpty, base != ".", base != ".." else {
            throw invalid("a name needs a word after its slash, such as /jobs")
        }
        guard !base.utf8.contains(UInt8(ascii: "/")) else {
            throw invalid("a name contains only one slash, at its beginning; use another separator, such as a dot")
        }
        guard !base.utf8.contains(0) else { throw invalid("a name cannot contain a zero byte; remove it") }
        guard base.utf8.count <= maximumBytes else {
            throw invalid("a name has at most \(maximumBytes) bytes after its slash; this one has \(base.utf8.count)")
        }
        self.description = "/" + base
    }
}
