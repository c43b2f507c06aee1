import CIPCShims
import Glibc
public import SystemPackage

/// Shared memory without a name (`memfd_create`), to be passed to a peer over a Unix socket.
///
/// Nothing is left behind when its users die, and seals make promises that the kernel keeps: the receiver insists on
/// ``Seals/shrink`` and is safe from SIGBUS, whatever the sender does later.
///
/// ```swift
/// let memory = try AnonymousMemory(byteCount: 1 << 20)
/// try memory.add([.shrink, .grow, .seal])
/// try socket.send(header, descriptors: [memory.descriptor])
/// // and in the peer:
/// let theirs = try AnonymousMemory(adopting: received, requiring: .shrink, minimumByteCount: 1 << 20)
/// ```
public struct AnonymousMemory: ~Copyable, Sendable {
    /// What nobody can do any more, not even the creator.
    public struct Seals: OptionSet, Hashable, Sendable {
        public let rawValue: CInt
        public init(rawValue: CInt) { self.rawValue = rawValue }

        /// No further seals can be added.
        public static let seal = Seals(rawValue: IPC_SEAL_SEAL)
        /// It cannot become smaller.
        public static let shrink = Seals(rawValue: IPC_SEAL_SHRINK)
        /// It cannot become larger.
        public static let grow = Seals(rawValue: IPC_SEAL_GROW)
        /// Its bytes cannot be changed. Fails while a writable mapping exists.
        public static let write = Seals(rawValue: IPC_SEAL_WRITE)
        /// It cannot be mapped for writing any more; existing mappings go on (Linux 5.1).
        public static let futureWrite = Seals(rawValue: IPC_SEAL_FUTURE_WRITE)
    }

    private let object: MemoryObject

    /// Creates zeroed memory and reserves it.
    ///
    /// - Parameters:
    ///   - byteCount: Its size.
    ///   - label: A word for `/proc/PID/fd` and `/proc/PID/maps`, of at most 249 bytes; it names nothing.
    public init(byteCount: Int, label: String = "swift-ipc") throws(IPCError) {
        guard !label.utf8.contains(0), label.utf8.count <= 249 else {
            throw IPCError(
                .invalidName, "memfd_create", label,
                advice: "a label has at most 249 bytes, none of them zero; this one has \(label.utf8.count)")
        }
        let flags = UInt32(IPC_MFD_CLOEXEC | IPC_MFD_ALLOW_SEALING)
        let raw = try systemCall { unsafe ipc_memfd_create(label, flags) }.orThrow("memfd_create", label)
        let object = MemoryObject(owned: OwnedDescriptor(adopting: raw), name: label)
        try object.reserve(byteCount, fileSystem: "/dev/shm")
        self.object = object
    }

    /// Takes over memory that a peer sent.
    ///
    /// - Parameters:
    ///   - descriptor: As received. It is closed if this throws.
    ///   - seals: The promises that this process relies on. Without ``Seals/shrink``, the peer can kill it by SIGBUS.
    ///   - minimumByteCount: How many bytes it has to have.
    /// - Throws: ``IPCError/Code/wrongType`` if it is no such memory or lacks a seal; ``IPCError/Code/invalidArgument``
    ///   if it is too small.
    public init(adopting descriptor: consuming OwnedDescriptor, requiring seals: Seals, minimumByteCount: Int = 1)
        throws(IPCError)
    {
        let object = MemoryObject(owned: descriptor, name: "received memory")
        let present = try Self.seals(of: object.owned.rawValue, object.name)
        let missing = seals.subtracting(present)
        guard missing.isEmpty else {
            throw IPCError(
                .wrongType, "adopt", object.name,
                advice: "it lacks the seals \(missing); the sender has to add them before it sends the memory")
        }
        let size = try object.size
        guard size >= minimumByteCount else {
            throw IPCError(
                .invalidArgument, "adopt", object.name,
                advice: "it has \(size) bytes, but \(minimumByteCount) are needed; the sender has to make it larger")
        }
        self.object = object
    }

    /// The descriptor, lent: send it with ``StreamSocket/send(_:descriptors:until:)``, or give it to a child.
    public var descriptor: FileDescriptor { object.owned.descriptor }

    /// Its size in bytes now.
    public var byteCount: Int { get throws(IPCError) { try object.size } }

    /// The seals that it has.
    public var seals: Seals { get throws(IPCError) { try Self.seals(of: object.owned.rawValue, object.name) } }

    /// Adds seals, for good.
    ///
    /// - Throws: ``IPCError/Code/permissionDenied`` after ``Seals/seal``; ``IPCError/Code/system`` if it is to be sealed
    ///   against writing while a writable mapping exists.
    public borrowing func add(_ seals: Seals) throws(IPCError) {
        let raw = object.owned.rawValue
        _ = try systemCall { ipc_fcntl_int(raw, IPC_F_ADD_SEALS, seals.rawValue) }
            .orThrow("add seals to", object.name) { errno in
                switch errno {
                case .notPermitted: "it is sealed against further seals; add all other seals before .seal"
                case .resourceBusy: "a writable mapping exists; unmap it, or use the seal futureWrite"
                default: nil
                }
            }
    }

    /// Makes it larger, unless it is sealed against that.
    public borrowing func grow(to byteCount: Int) throws(IPCError) {
        try object.reserve(byteCount, fileSystem: "/dev/shm")
    }

    /// Makes it larger or smaller, unless it is sealed against that. Whoever touches what is cut off gets SIGBUS.
    public borrowing func resize(to byteCount: Int) throws(IPCError) { try object.truncate(to: byteCount) }

    /// Maps it, or a part of it; see ``SharedMemory/map(_:access:prefaulting:)``.
    public borrowing func map(
        _ range: Range<Int>? = nil, access: MemoryAccess = .readWrite, prefaulting: Bool = false
    ) throws(IPCError) -> MemoryMapping {
        try object.map(range, access: access, prefaulting: prefaulting)
    }

    /// Closes the descriptor; mappings remain.
    public consuming func close() throws(IPCError) { try object.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { object.owned.release() }

    private static func seals(of descriptor: CInt, _ name: String) throws(IPCError) -> Seals {
        let raw = try systemCall { ipc_fcntl_int(descriptor, IPC_F_GET_SEALS, 0) }
            .orThrow("get seals of", name) { errno in
                errno == .invalidArgument
                    ? "this descriptor does not support seals; pass one of anonymous memory (memfd)" : nil
            }
        return Seals(rawValue: raw)
    }
}

extension AnonymousMemory.Seals: CustomStringConvertible {
    public var description: String {
        let names: [(Self, String)] = [
            (.seal, "seal"), (.shrink, "shrink"), (.grow, "grow"), (.write, "write"), (.futureWrite, "futureWrite"),
        ]
        return "[" + names.filter { contains($0.0) }.map(\.1).joined(separator: ", ") + "]"
    }
}
