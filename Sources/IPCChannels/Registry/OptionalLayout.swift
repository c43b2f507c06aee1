/// Bits of a type that none of its values has: numbers from `first` on, in `width` bytes.
struct SpareValues {
    var offset = 0
    let width: Int
    private(set) var first: UInt64
    private(set) var count: UInt64

    /// All numbers from `first` on that so many bytes can hold; nil if there are none.
    init?(width: Int, after first: UInt64) {
        let all: UInt64 = 1 << UInt64(8 * width)
        guard first < all else { return nil }
        self.width = width
        self.first = first
        count = all - first
    }

    /// Those that are left once nil is the first.
    var withoutFirst: SpareValues? {
        guard count > 1 else { return nil }
        var left = self
        left.first += 1
        left.count -= 1
        return left
    }
}

/// How an optional lies in memory: nil is either a bit pattern that its payload does not use, or said by a byte after it.
enum OptionalLayout {
    /// Nil is this number, in `width` bytes at the offset. The other bytes do not matter then.
    case inPayload(UInt64, width: Int, offset: Int)
    /// The byte after a payload of so many bytes is 0 for a value, 1 for nil. The payload's bytes are all 0 for nil: code that
    /// the compiler made in different ways would not agree otherwise whether it is nil.
    case byteAfter(payload: Int)

    init(payload: Int, spare: SpareValues?) {
        self =
            if let spare { .inPayload(spare.first, width: spare.width, offset: spare.offset) } else {
                .byteAfter(payload: payload)
            }
    }

    /// Whether optionals of this type lie in memory so, as far as values can show. All bytes 0 are a value of every type that a
    /// message may have.
    func isThatOf(_ wrapped: Any.Type) -> Bool { isThat(of: wrapped) }

    private func isThat<Wrapped>(of type: Wrapped.Type) -> Bool {
        typealias Value = Wrapped?
        let expected =
            switch self {
            case .inPayload: MemoryLayout<Wrapped>.size
            case .byteAfter(let payload): payload + 1
            }
        guard MemoryLayout<Value>.size == expected else { return false }
        return unsafe withUnsafeTemporaryAllocation(
            byteCount: MemoryLayout<Value>.size, alignment: MemoryLayout<Value>.alignment
        ) { bytes in
            let place = bytes.baseAddress!  // there is at least one byte: nil is told by it
            unsafe place.initializeMemory(as: UInt8.self, repeating: 0, count: bytes.count)
            // Trivial types only come here, so that copies need no care.
            guard unsafe place.load(as: Value.self) != nil else { return false }
            switch self {
            case .inPayload(let number, let width, let offset):
                unsafe place.storeNumber(number, width: width, at: offset)
            case .byteAfter(let payload): unsafe place.storeNumber(1, width: 1, at: payload)
            }
            return unsafe place.load(as: Value.self) == nil
        }
    }
}

extension UnsafeMutableRawPointer {
    /// A number of 1, 2 or 4 bytes.
    func number(width: Int, at offset: Int) -> UInt64 {
        switch width {
        case 1: UInt64(unsafe loadUnaligned(fromByteOffset: offset, as: UInt8.self))
        case 2: UInt64(unsafe loadUnaligned(fromByteOffset: offset, as: UInt16.self))
        default: UInt64(unsafe loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
    }

    func storeNumber(_ number: UInt64, width: Int, at offset: Int) {
        switch width {
        case 1: unsafe storeBytes(of: UInt8(truncatingIfNeeded: number), toByteOffset: offset, as: UInt8.self)
        case 2: unsafe storeBytes(of: UInt16(truncatingIfNeeded: number), toByteOffset: offset, as: UInt16.self)
        default: unsafe storeBytes(of: UInt32(truncatingIfNeeded: number), toByteOffset: offset, as: UInt32.self)
        }
    }
}
