import Synchronization

/// What the handles of C point to: blocks that are never given back to the system, so that a handle that was closed can still be told from
/// one that is open.
struct Handle<Value: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: the block is found by its address; what it points to belongs to one thread at a time.
    private let block: UnsafeMutablePointer<HandleBlock>

    init(_ value: consuming Value, _ kind: HandleKind) {
        let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
        pointer.initialize(to: value)
        block = HandleBlocks.take()
        block.pointee.value = UnsafeMutableRawPointer(pointer)
        block.pointee.kind = kind.rawValue
    }

    /// Nil for a null pointer, and for a handle of another kind or one that was closed.
    @inline(__always)
    init?(_ pointer: OpaquePointer?, _ kind: HandleKind) {
        let alignment = UInt(MemoryLayout<HandleBlock>.alignment)
        guard let pointer, UInt(bitPattern: pointer) % alignment == 0 else { return nil }
        block = UnsafeMutablePointer(pointer)
        guard block.pointee.kind == kind.rawValue else { return nil }
    }

    var pointer: OpaquePointer { OpaquePointer(block) }

    /// The value, which the caller uses alone.
    @inline(__always)
    var value: UnsafeMutablePointer<Value> {
        block.pointee.value.unsafelyUnwrapped.assumingMemoryBound(to: Value.self)
    }

    /// Closes the handle.
    func take() -> Value {
        let pointer = value
        block.pointee.kind = 0
        HandleBlocks.give(block)
        defer { pointer.deallocate() }
        return pointer.move()
    }
}

/// Which kind of handle a block is of: a number that is hardly ever in memory by chance.
enum HandleKind: UInt64 {
    case channel = 0x6970_635f_6368_616e
    case reader = 0x6970_635f_7265_6164
    case writer = 0x6970_635f_7772_6974
    case message = 0x6970_635f_6d65_7373
    case call = 0x6970_635f_6361_6c6c
    case result = 0x6970_635f_7265_7375
    case descriptor = 0x6970_635f_6465_7363
}

struct HandleBlock {
    var kind: UInt64
    var value: UnsafeMutableRawPointer?
}

/// Blocks that are free are used again in the order in which they were given back, and late: so a handle that was closed does not soon
/// name another one.
private enum HandleBlocks {
    private struct Free {
        /// Addresses, the oldest first from `start` on.
        var blocks: [UInt] = []
        var start = 0
    }

    private static let free = Mutex(Free())
    /// How many are free at least.
    private static let reserve = 4096

    static func take() -> UnsafeMutablePointer<HandleBlock> {
        let address = free.withLock { free in
            if free.blocks.count - free.start <= reserve {
                let more = UnsafeMutablePointer<HandleBlock>.allocate(capacity: reserve)
                more.initialize(repeating: HandleBlock(kind: 0, value: nil), count: reserve)
                free.blocks += (0..<reserve).map { UInt(bitPattern: more + $0) }
            }
            defer { free.start += 1 }
            return free.blocks[free.start]
        }
        return UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
    }

    static func give(_ block: UnsafeMutablePointer<HandleBlock>) {
        let address = UInt(bitPattern: block)
        free.withLock { free in
            if free.start > 2 * reserve {
                free.blocks.removeFirst(free.start)
                free.start = 0
            }
            free.blocks.append(address)
        }
    }
}
