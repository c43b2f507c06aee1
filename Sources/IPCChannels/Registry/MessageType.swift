@_spi(Reflection) import Swift
import IPC

/// What a channel records of its messages' type, so that nobody opens it as another.
struct MessageType: Hashable, Sendable {
    let name: String
    let size: Int
    let stride: Int
    let alignment: Int
    /// Of the names, types and offsets of all stored fields, those of fields included.
    let fingerprint: UInt64

    /// Messages that are whatever bytes their writer chose.
    static let bytes = MessageType(name: "bytes", size: 0, stride: 0, alignment: 1, fingerprint: 0)

    /// The type's name, the same in every process: where a type is private, reflection names an address in between.
    static func name(of type: Any.Type) -> String {
        let parts = String(reflecting: type).split(separator: "(unknown context at $", omittingEmptySubsequences: false)
        return parts.dropFirst().reduce(into: String(parts[0])) { name, part in
            name += part.drop { $0 != "." }.dropFirst()
        }
    }

    /// - Throws: ``IPC/IPCError/Code/wrongType`` if the type holds a pointer or a reference, or is too long a name.
    static func of<Value: BitwiseCopyable>(_ type: Value.Type) throws(IPCError) -> MessageType {
        let name = name(of: type)
        var hash = Fingerprint()
        try describe(type, at: 0, path: name, &hash)
        try checkLength(name)
        guard MemoryLayout<Value>.alignment <= LogLayout.Frame.headerSize else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "a message is aligned to at most \(LogLayout.Frame.headerSize) bytes")
        }
        return MessageType(
            name: name, size: MemoryLayout<Value>.size, stride: MemoryLayout<Value>.stride,
            alignment: MemoryLayout<Value>.alignment, fingerprint: hash.value)
    }

    /// What a service carries.
    static func call(_ request: MessageType, _ reply: MessageType, failure: MessageType) throws(IPCError) -> MessageType
    {
        let name = "(\(request.name)) throws(\(failure.name)) -> \(reply.name)"
        try checkLength(name)
        var hash = Fingerprint()
        for type in [request, reply, failure] { hash.add(type.fingerprint) }
        return MessageType(
            name: name, size: request.size, stride: reply.size, alignment: 1, fingerprint: hash.value)
    }

    private static func checkLength(_ name: String) throws(IPCError) {
        guard name.utf8.count <= LogLayout.Fixed.typeNameCapacity else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "the name of a message's type has at most \(LogLayout.Fixed.typeNameCapacity) bytes")
        }
    }

    private static func describe(
        _ type: Any.Type, at offset: Int, path: String, _ hash: inout Fingerprint
    ) throws(IPCError) {
        let name = name(of: type)
        guard !isAddress(type, name) else {
            throw IPCError(
                .wrongType, "channel", path,
                advice:
                    "its type \(name) is an address, which means nothing in another process; send an offset or an index"
            )
        }
        hash.add(name)
        hash.add(UInt64(offset))
        var failure: IPCError?
        var fields = 0
        _ = unsafe _forEachField(of: type) { fieldName, fieldOffset, fieldType, kind in
            let label = unsafe String(cString: fieldName)
            fields += 1
            hash.add(label)
            do throws(IPCError) {
                try describe(fieldType, at: offset + fieldOffset, path: path + "." + label, &hash)
            } catch {
                failure = error
                return false
            }
            return true
        }
        if let failure { throw failure }
        guard fields == 0 else { return }
        switch EnumerationMetadata(type) {
        case .optional(let wrapped): try describe(wrapped, at: offset, path: path, &hash)
        case .withAssociatedValues:
            throw IPCError(
                .wrongType, "channel", path,
                advice:
                    "its type \(name) is an enumeration with associated values, which may be addresses; send a structure"
            )
        case .other: break
        }
    }

    private static func isAddress(_ type: Any.Type, _ name: String) -> Bool {
        if type is AnyObject.Type { return true }
        return [
            "Swift.Unsafe", "Swift.OpaquePointer", "Swift.Unmanaged", "Swift.AutoreleasingUnsafe",
            "Swift.ObjectIdentifier", "Builtin.RawPointer",
        ]
        .contains { name.hasPrefix($0) }
    }

    /// The error for a channel of another type; it names both.
    func mismatch(_ channel: String, wanted: MessageType) -> IPCError {
        let same = name == wanted.name ? " of another layout" : ""
        return IPCError(
            .wrongType, "open channel", channel,
            advice:
                "it carries \(name)\(same) (\(size) bytes), but is opened for \(wanted.name) (\(wanted.size) bytes); use the same type, built from the same source"
        )
    }
}

/// What reflection does not tell of enumerations: read from the type's metadata, as the compiler lays it out
/// (docs/ABI/TypeMetadata.rst in the Swift repository).
private enum EnumerationMetadata {
    case optional(Any.Type)
    case withAssociatedValues
    /// No enumeration, or one of plain cases.
    case other

    init(_ type: Any.Type) {
        let metadata = unsafe unsafeBitCast(type, to: UnsafeRawPointer.self)
        // The kind, a pointer to the type's description, and then the generic arguments.
        switch unsafe metadata.load(as: UInt.self) {
        case 0x202:
            let argument = unsafe metadata.load(fromByteOffset: 16, as: UnsafeRawPointer.self)
            self = .optional(unsafe unsafeBitCast(argument, to: Any.Type.self))
        case 0x201:
            let description = unsafe metadata.load(fromByteOffset: 8, as: UnsafeRawPointer.self)
            // Its low 24 bits count the cases with associated values.
            let counts = unsafe description.load(fromByteOffset: 20, as: UInt32.self)
            self = counts & 0xff_ffff == 0 ? .other : .withAssociatedValues
        default: self = .other
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same in every process, which Swift's own hashing is not.
private struct Fingerprint {
    var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
        add(UInt8(0))
    }

    mutating func add(_ number: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
}
