import IPC

/// The checks of a message type, for values read from memory that other processes write to. A type whose every bit pattern is a
/// value has none.
///
/// It is created once per type and never freed, like the type's metadata. So participants and messages hold it as a plain
/// pointer, without reference counting.
@safe @usableFromInline
struct MessageChecks: @unchecked Sendable {
    // `@unchecked`: immutable after initialization.
    private let table: UnsafePointer<Table>

    @safe
    private struct Table {
        let type: String
        /// Each check is followed by its inner checks.
        let checks: UnsafeBufferPointer<Check>
        let labels: [(path: String, type: String)]
    }

    private struct Check {
        let kind: ValueCheck.Kind
        let offset: Int
        /// The index of the check that contains it; -1 for none.
        let outer: Int
        /// The end of its inner checks.
        var end = 0
    }

    /// The invalid part of a message.
    @usableFromInline
    struct Invalid: Error {
        fileprivate let check: Int
        fileprivate let offset: Int
        fileprivate let value: UInt64
    }

    /// - Returns: Nil if there are no checks.
    init?(_ checks: [ValueCheck], type: String) {
        guard !checks.isEmpty else { return nil }
        var flat: [Check] = []
        var labels: [(path: String, type: String)] = []
        func add(_ check: ValueCheck, outer: Int) {
            let index = flat.count
            flat.append(Check(kind: check.kind, offset: check.offset, outer: outer))
            labels.append((check.label, check.type))
            for inner in check.inner { add(inner, outer: index) }
            flat[index].end = flat.count
        }
        for check in checks { add(check, outer: -1) }
        let memory = UnsafeMutableBufferPointer<Check>.allocate(capacity: flat.count)
        _ = unsafe memory.initialize(fromContentsOf: flat)
        let table = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        unsafe table.initialize(to: Table(type: type, checks: UnsafeBufferPointer(memory), labels: labels))
        unsafe self.table = UnsafePointer(table)
    }

    /// Reads a value from shared memory. The bytes are copied, the copy is checked, and the value is made from the copy, so
    /// that concurrent writes do not matter. Allocates for more than 1024 bytes.
    @inlinable
    func value<Value: BitwiseCopyable>(at source: UnsafeRawPointer) throws(Invalid) -> Value {
        let result: Result<Value, Invalid> = unsafe withUnsafeTemporaryAllocation(
            byteCount: MemoryLayout<Value>.size, alignment: MemoryLayout<Value>.alignment
        ) { bytes in
            // A type of size 0 has no checks.
            let copy = bytes.baseAddress!
            unsafe copy.copyMemory(from: source, byteCount: MemoryLayout<Value>.size)
            if let invalid = unsafe firstInvalid(in: copy) { return .failure(invalid) }
            return .success(unsafe copy.load(as: Value.self))
        }
        return try result.get()
    }

    /// Checks a private copy of a message.
    ///
    /// Not inlined, and it may change the bytes: so the compiler cannot read the original again instead of the copy.
    @usableFromInline @inline(never)
    func firstInvalid(in copy: UnsafeMutableRawPointer) -> Invalid? {
        let checks = unsafe table.pointee.checks
        return unsafe Self.firstInvalid(checks, 0..<checks.count, copy, at: 0)
    }

    /// - Parameter base: What the offsets of the checks are relative to.
    private static func firstInvalid(
        _ checks: UnsafeBufferPointer<Check>, _ range: Range<Int>, _ copy: UnsafeMutableRawPointer, at base: Int
    ) -> Invalid? {
        var index = range.lowerBound
        while index < range.upperBound {
            let check = unsafe checks[index]
            let place = base + check.offset
            let inner = index + 1..<check.end
            switch check.kind {
            case .below(let limit, let width):
                let value = unsafe copy.number(width: width, at: place)
                guard value < limit else { return Invalid(check: index, offset: place, value: value) }
            case .scalar:
                let value = unsafe copy.number(width: 4, at: place)
                guard Unicode.Scalar(UInt32(value)) != nil else {
                    return Invalid(check: index, offset: place, value: value)
                }
            case .optional(.inPayload(let number, let width, let offset)):
                if unsafe copy.number(width: width, at: place + offset) == number { break }
                if let invalid = unsafe firstInvalid(checks, inner, copy, at: place) { return invalid }
            case .optional(.byteAfter(let payload)):
                let value = unsafe copy.number(width: 1, at: place + payload)
                guard value < 2 else { return Invalid(check: index, offset: place + payload, value: value) }
                if value == 1 {
                    // As the compiler writes nil, whatever another language left there.
                    unsafe (copy + place).initializeMemory(as: UInt8.self, repeating: 0, count: payload)
                } else if let invalid = unsafe firstInvalid(checks, inner, copy, at: place) {
                    return invalid
                }
            case .each(let count, let stride):
                for element in 0..<count {
                    let invalid = unsafe firstInvalid(checks, inner, copy, at: place + element * stride)
                    if let invalid { return invalid }
                }
            case .text(let capacity):
                let count = unsafe copy.number(width: 4, at: place)
                guard count <= UInt64(capacity) else { return Invalid(check: index, offset: place, value: count) }
                let bytes = place + MessageSchema.textOffset
                let text = unsafe UnsafeRawBufferPointer(start: copy + bytes, count: Int(count))
                guard unsafe String(validating: text, as: UTF8.self) != nil else {
                    return Invalid(check: index, offset: bytes, value: count)
                }
            case .list(let capacity, let offset, let stride):
                let count = unsafe copy.number(width: 4, at: place)
                guard count <= UInt64(capacity) else { return Invalid(check: index, offset: place, value: count) }
                guard !inner.isEmpty else { break }
                for element in 0..<Int(count) {
                    let invalid = unsafe firstInvalid(checks, inner, copy, at: place + offset + element * stride)
                    if let invalid { return invalid }
                }
            }
            index = check.end
        }
        return nil
    }

    /// Copies and checks a value from shared memory. The caller deallocates the copy.
    func copy(_ source: UnsafeRawPointer, byteCount: Int) throws(Invalid) -> UnsafeMutableRawPointer {
        let copy = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: LogLayout.Frame.headerSize)
        unsafe copy.copyMemory(from: source, byteCount: byteCount)
        if let invalid = unsafe firstInvalid(in: copy) {
            unsafe copy.deallocate()
            throw invalid
        }
        return unsafe copy
    }

    /// The error that names the field and its content.
    ///
    /// - Parameter operation: The operation on the channel, such as `receive`.
    func error(_ invalid: Invalid, _ operation: String, _ channel: ChannelName) -> IPCError {
        let table = unsafe table.pointee
        let (_, type) = table.labels[invalid.check]
        let possible =
            switch unsafe table.checks[invalid.check].kind {
            case .below(let limit, _): "whose values are 0 to \(limit - 1)"
            case .scalar: "whose values are 0 to 55295 and 57344 to 1114111"
            case .optional: "whose flag is 0 for a value and 1 for nil"
            case .each: ""
            case .text(let capacity): "whose length is 0 to \(capacity), and which is UTF-8"
            case .list(let capacity, _, _): "whose count is 0 to \(capacity)"
            }
        return IPCError(
            .corrupted, operation, channel.description,
            advice:
                "a message has \(invalid.value) in \(path(to: invalid)), of type \(type), \(possible); the participant that wrote it does not use this library, or was built from other source: find it, and fix it"
        )
    }

    private func path(to invalid: Invalid) -> String {
        let table = unsafe table.pointee
        var chain = [invalid.check]
        while let next = chain.last, unsafe table.checks[next].outer >= 0 {
            chain.append(unsafe table.checks[next].outer)
        }
        var (path, base) = (table.type, 0)
        for index in chain.reversed() {
            let check = unsafe table.checks[index]
            path += table.labels[index].path
            base += check.offset
            let elements: (offset: Int, stride: Int)? =
                switch check.kind {
                case .each(_, let stride): (0, stride)
                case .list(_, let offset, let stride) where invalid.offset >= base + offset: (offset, stride)
                default: nil
                }
            if let (offset, stride) = elements {
                let element = (invalid.offset - base - offset) / stride
                path += "[\(element)]"
                base += offset + element * stride
            }
        }
        return path
    }
}
