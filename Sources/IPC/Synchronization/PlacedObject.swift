import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// Something that lies in shared memory: initialised once, by one process, and attached to by the others.
///
/// It starts with a word that is 0 in fresh memory, ``Kind`` when it is ready, and that with the highest bit set while
/// one process initialises it. Nobody can use it half made, and nobody can take a semaphore for a mutex.
@safe
package final class PlacedObject: @unchecked Sendable {
    /// Distinct words that no plausible content of other memory equals.
    enum Kind: UInt32 {
        case semaphore = 0x4950_4301
        case mutex = 0x4950_4302
        case condition = 0x4950_4303
        case readWriteLock = 0x4950_4304
    }

    /// Where it may lie: so that no two of them share a cache line.
    static let alignment = 64
    /// The first bytes belong to the state word; the object itself comes after them.
    package static let headerSize = 16

    let mapping: MemoryMapping
    /// The object itself, after its header. Valid for as long as `mapping` is referenced.
    let body: UnsafeMutableRawPointer
    let name: String

    private init(_ mapping: MemoryMapping, _ offset: Int, _ byteCount: Int) throws(IPCError) {
        self.name = "\(mapping.name)+\(offset)"
        guard offset >= 0, offset <= mapping.byteCount - byteCount, mapping.isAligned(offset, to: Self.alignment) else {
            throw IPCError(
                .invalidArgument, "place", name,
                advice:
                    "it needs \(byteCount) bytes, aligned to \(Self.alignment), inside the mapping of \(mapping.byteCount) bytes; choose another offset"
            )
        }
        guard mapping.access == .readWrite else {
            throw IPCError(.permissionDenied, "place", name, advice: "the mapping is read-only; map it for writing")
        }
        self.mapping = mapping
        unsafe self.body = mapping.pointer(at: offset, byteCount: byteCount) + Self.headerSize
    }

    private func withState<Result>(_ body: (borrowing Atomic<UInt32>) -> Result) -> Result {
        unsafe body((self.body - Self.headerSize).assumingMemoryBound(to: Atomic<UInt32>.self).pointee)
    }

    /// Initialises the memory at `offset`, or, if that is allowed, attaches to what another process made there.
    static func create(
        _ kind: Kind, in mapping: MemoryMapping, at offset: Int, byteCount: Int, mayExist: Bool,
        _ initialize: (UnsafeMutableRawPointer) -> CInt
    ) throws(IPCError) -> PlacedObject {
        let object = try PlacedObject(mapping, offset, byteCount)
        let underway = kind.rawValue | 1 << 31
        // Acquiring: if another was first, what it wrote is seen.
        let (isFirst, found) = object.withState {
            $0.compareExchange(expected: 0, desired: underway, ordering: .acquiring)
        }
        guard isFirst else {
            if mayExist {
                return try open(kind, in: mapping, at: offset, byteCount: byteCount, until: .after(.seconds(1)))
            }
            throw IPCError(
                found & ~(1 << 31) == kind.rawValue ? .alreadyExists : .wrongType, "create", object.name,
                advice: "this memory is already in use; open the object that is there, or choose another offset")
        }
        let result = unsafe initialize(object.body)
        // Releasing: whoever sees the kind sees the initialised object.
        object.withState { $0.store(result == 0 ? kind.rawValue : 0, ordering: .releasing) }
        unsafe FutexCalls.wake(UnsafeRawPointer(object.body - headerSize), count: .max)
        guard result == 0 else { throw IPCError("create", object.name, Errno(rawValue: result)) }
        return object
    }

    /// Attaches to what another process makes or has made at `offset`.
    static func open(
        _ kind: Kind, in mapping: MemoryMapping, at offset: Int, byteCount: Int, until deadline: Deadline
    ) throws(IPCError) -> PlacedObject {
        let object = try PlacedObject(mapping, offset, byteCount)
        while true {
            // Acquiring: pairs with the releasing store of the creator.
            let state = object.withState { $0.load(ordering: .acquiring) }
            switch state {
            case kind.rawValue: return object
            case 0, kind.rawValue | 1 << 31:
                let word = unsafe UnsafeRawPointer(object.body - headerSize)
                guard try unsafe FutexCalls.wait(word, whileEqual: state, until: deadline, object.name) else {
                    throw IPCError(
                        .notReady, "open", object.name,
                        advice:
                            "it was not initialised before the deadline; its creator may have died: create the memory again"
                    )
                }
            default:
                throw IPCError(
                    .wrongType, "open", object.name,
                    advice: "this memory contains another kind of object; check the offset")
            }
        }
    }
}
