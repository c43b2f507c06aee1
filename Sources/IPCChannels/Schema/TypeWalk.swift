@_spi(Reflection) import Swift
import IPC

extension MessageSchema {
    /// The schema of a Swift type, down to the last field.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType``, with the field's path, if the type contains something that has no meaning in
    ///   another process, or that cannot be checked when it comes from one.
    public init<Value: BitwiseCopyable>(of type: Value.Type) throws(IPCError) { try self.init(ofAny: type) }

    init(ofAny type: Any.Type) throws(IPCError) {
        self = try TypeWalk.part(type, path: TypeName.full(type)).schema
    }
}

/// A part of a message type that says itself how it is described. Only types of this library do.
protocol SelfDescribingMessagePart {
    /// - Parameter schema: Finds the schema of a type that it consists of.
    static func schema(_ schema: (Any.Type) throws(IPCError) -> MessageSchema) throws(IPCError) -> MessageSchema
}

/// Finds the schema of a Swift type by its metadata.
private enum TypeWalk {
    /// A part of the type.
    struct Part {
        var schema: MessageSchema
        /// Bit patterns that no value has; an optional uses the first of them for nil.
        var spare: SpareValues?
    }

    static func part(_ type: Any.Type, path: String) throws(IPCError) -> Part {
        let name = TypeName.full(type)
        guard !isAddress(name) else { throw address(path, name) }
        guard name != "Swift._ValidUTF8Buffer" else {
            throw refused(path, name, "has bit patterns that are not values; send a Unicode.Scalar")
        }
        if let known = type as? any SelfDescribingMessagePart.Type {
            var element: Part?
            let schema = try known.schema { (type) throws(IPCError) in
                let part = try part(type, path: path + "[]")
                element = part
                return part.schema
            }
            // A list's spare values are those of its first element.
            guard case .list(1..., let of) = schema, var spare = element?.spare else { return Part(schema: schema) }
            spare.offset += MessageSchema.listOffset(of)
            return Part(schema: schema, spare: spare)
        }
        if let number = number(type) { return Part(schema: number) }
        if let type = type as? any SIMD.Type, let vector = vector(type) { return Part(schema: vector) }
        switch TypeMetadata(type) {
        case _ where type == Bool.self: return Part(schema: .bool, spare: SpareValues(width: 1, after: 2))
        case _ where type == Unicode.Scalar.self: return Part(schema: .scalar)
        // Its storage is an empty tuple, which has no element type.
        case .structure where name.hasPrefix("Swift.InlineArray<0, "):
            let element = try part(TypeMetadata.inlineArrayElement(of: type), path: path + "[]")
            return Part(schema: .array(count: 0, of: element.schema))
        case .structure(let count), .tuple(let count): return try structure(type, count, path: path)
        case .optional(let wrapped): return try optional(wrapped, path: path)
        case .enumeration(let withValues, let plain, let isReflected):
            guard withValues == 0 else {
                throw refused(
                    path, name, "is an enumeration with associated values, which may be addresses; send a structure")
            }
            guard plain > 0 else { throw refused(path, name, "has no values; send a type that has some") }
            guard isReflected, let known = EnumerationCases(type, count: plain) else {
                throw refused(
                    path, name,
                    "is an enumeration whose cases cannot be determined, so two programs may differ in them; build without -disable-reflection-metadata and -disable-reflection-names, or, if it is an enumeration of C, send its raw value"
                )
            }
            let spare = known.width > 0 ? SpareValues(width: known.width, after: UInt64(plain)) : nil
            return Part(schema: .enumeration(known.schema(TypeName.short(type))), spare: spare)
        case .array(let count, let element):
            let part = try part(element, path: path + "[]")
            // The spare values are those of the first element.
            return Part(schema: .array(count: count, of: part.schema), spare: count == 0 ? nil : part.spare)
        case .builtin:
            let isNumber = ["Builtin.Int", "Builtin.FPIEEE", "Builtin.Vec", "Builtin.Word"].contains(
                where: name.hasPrefix)
            guard isNumber else { throw address(path, name) }
            if name == "Builtin.Int1" { return Part(schema: .bool) }
            return Part(schema: .opaque(byteCount: size(of: type), alignment: alignment(of: type)))
        case .other: throw address(path, name)
        }
    }

    private static func number(_ type: Any.Type) -> MessageSchema? {
        switch type {
        case is Int.Type, is Int64.Type: .integer(byteCount: 8, isSigned: true)
        case is UInt.Type, is UInt64.Type: .integer(byteCount: 8, isSigned: false)
        case is Int8.Type: .integer(byteCount: 1, isSigned: true)
        case is UInt8.Type: .integer(byteCount: 1, isSigned: false)
        case is Int16.Type: .integer(byteCount: 2, isSigned: true)
        case is UInt16.Type: .integer(byteCount: 2, isSigned: false)
        case is Int32.Type: .integer(byteCount: 4, isSigned: true)
        case is UInt32.Type: .integer(byteCount: 4, isSigned: false)
        case is Int128.Type: .integer(byteCount: 16, isSigned: true)
        case is UInt128.Type: .integer(byteCount: 16, isSigned: false)
        case is Float.Type: .float(byteCount: 4)
        case is Double.Type: .float(byteCount: 8)
        default: otherFloat(type)
        }
    }

    private static func otherFloat(_ type: Any.Type) -> MessageSchema? {
        if type is Float16.Type { return .float(byteCount: 2) }
        #if arch(x86_64)
            if type is Float80.Type { return .float(byteCount: 16) }
        #endif
        return nil
    }

    /// A vector of the processor: x, y, z and w, or an array of elements.
    private static func vector<Vector: SIMD>(_ type: Vector.Type) -> MessageSchema? {
        // A mask's lanes are no bytes that are 0 or 1.
        guard let scalar = number(Vector.Scalar.self) else { return nil }
        let count = Vector.scalarCount
        let fields =
            count > 4
            ? [MessageSchema.Field("elements", at: 0, .array(count: count, of: scalar))]
            : zip(["x", "y", "z", "w"], 0..<count).map { name, index in
                MessageSchema.Field(name, at: index * scalar.byteCount, scalar)
            }
        return .structure(
            MessageSchema.Structure(
                name: TypeName.short(type), byteCount: MemoryLayout<Vector>.size,
                alignment: MemoryLayout<Vector>.alignment, fields: fields))
    }

    /// A structure or a tuple.
    private static func structure(_ type: Any.Type, _ count: Int, path: String) throws(IPCError) -> Part {
        var fields: [MessageSchema.Field] = []
        var spare: SpareValues?
        var failure: IPCError?
        var seen = 0
        var storage: Part?
        _ = unsafe _forEachField(of: type) { fieldName, fieldOffset, fieldType, _ in
            // A tuple's labels have a dot before them.
            var label = TypeName.plain(unsafe String(cString: fieldName))
            if label.hasPrefix(".") { label.removeFirst() }
            if !label.isEmpty { seen += 1 }
            do throws(IPCError) {
                let isArray = if case .array = TypeMetadata(fieldType) { true } else { false }
                let field = try part(fieldType, path: isArray ? path : path + "." + label)
                // An `InlineArray` is its elements, and not a structure with a field.
                if isArray, count == 1, fieldOffset == 0 { storage = field }
                fields.append(MessageSchema.Field(label, at: fieldOffset, field.schema))
                if var other = field.spare, other.count > spare?.count ?? 0 {
                    other.offset += fieldOffset
                    spare = other
                }
            } catch {
                failure = error
            }
            return failure == nil
        }
        if let failure { throw failure }
        let name = TypeName.full(type)
        guard seen == count, seen > 0 || size(of: type) == 0 else {
            throw refused(
                path, name,
                "has \(size(of: type)) bytes and fields that cannot be seen, which may be addresses; build without -disable-reflection-metadata and -disable-reflection-names, or, if it is a union of C, send its bytes"
            )
        }
        if let storage { return storage }
        let isTuple = if case .tuple = TypeMetadata(type) { true } else { false }
        let structure = MessageSchema.Structure(
            name: isTuple ? "" : TypeName.short(type), byteCount: size(of: type), alignment: alignment(of: type),
            fields: fields)
        return Part(schema: .structure(structure), spare: spare)
    }

    private static func optional(_ wrapped: Any.Type, path: String) throws(IPCError) -> Part {
        let part = try part(wrapped, path: path)
        let layout = OptionalLayout(payload: size(of: wrapped), spare: part.spare)
        guard layout.isThatOf(wrapped) else {
            throw refused(
                path, "Optional<\(TypeName.full(wrapped))>",
                "marks nil in a way that this library does not know; send a structure with a flag and a value")
        }
        return Part(schema: .optional(part.schema, layout.absence), spare: part.spare?.withoutFirst)
    }

    private static func isAddress(_ name: String) -> Bool {
        [
            "Swift.Unsafe", "Swift.OpaquePointer", "Swift.Unmanaged", "Swift.AutoreleasingUnsafe",
            "Swift.ObjectIdentifier", "Swift.StaticString",
        ]
        .contains(where: name.hasPrefix)
    }

    private static func address(_ path: String, _ name: String) -> IPCError {
        refused(path, name, "is an address, which is not valid in another process; send an offset or an index")
    }

    private static func refused(_ path: String, _ name: String, _ reason: String) -> IPCError {
        IPCError(.wrongType, "channel", path, advice: "its type \(name) \(reason)")
    }
}

private func size(of type: Any.Type) -> Int {
    func size<Value>(_ type: Value.Type) -> Int { MemoryLayout<Value>.size }
    return size(type)
}

private func alignment(of type: Any.Type) -> Int {
    func alignment<Value>(_ type: Value.Type) -> Int { MemoryLayout<Value>.alignment }
    return alignment(type)
}
