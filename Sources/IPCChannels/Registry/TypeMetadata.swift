/// What the runtime knows of a type beyond what reflection tells: read from the type's metadata, as the compiler lays it out
/// (docs/ABI/TypeMetadata.rst and include/swift/ABI/MetadataKind.def in the Swift repository).
///
/// Every address that is read here belongs to metadata, which is never freed, of a kind that has the field by its ABI.
enum TypeMetadata {
    case structure(fields: Int)
    case tuple(elements: Int)
    case optional(Any.Type)
    /// - Parameter isReflected: Whether the runtime knows its cases' names. It does not if the program was built without
    ///   reflection metadata, nor of an enumeration that lies in memory as one of C does.
    case enumeration(casesWithValues: Int, plainCases: Int, isReflected: Bool)
    /// `Builtin.FixedArray`: what `InlineArray` holds.
    case array(count: Int, of: Any.Type)
    /// A number of the processor, a vector of them, or one of the runtime's own handles: its name tells which.
    case builtin
    /// A class, a function, a metatype, an existential: all of these hold addresses.
    case other

    init(_ type: Any.Type) {
        // A metatype's value is the address of the metadata; its first word is the kind.
        let metadata = unsafe unsafeBitCast(type, to: UnsafeRawPointer.self)
        switch unsafe metadata.load(as: UInt.self) {
        case 0x200:
            // The description's fields: flags, parent, name, access function, reflected fields, count of fields.
            let description = unsafe Self.description(metadata)
            self = .structure(fields: Int(unsafe description.load(fromByteOffset: 20, as: UInt32.self)))
        case 0x201:
            let description = unsafe Self.description(metadata)
            // A relative address, 0 for none; then two counts, the first of which has other bits above its 24.
            let reflection = unsafe description.load(fromByteOffset: 16, as: Int32.self)
            let withValues = unsafe description.load(fromByteOffset: 20, as: UInt32.self) & 0xff_ffff
            let plain = unsafe description.load(fromByteOffset: 24, as: UInt32.self)
            self = .enumeration(
                casesWithValues: Int(withValues), plainCases: Int(plain), isReflected: reflection != 0)
        case 0x202:
            // The kind, the description, and then the generic arguments: one, a type.
            self = .optional(unsafe Self.type(metadata, at: 16))
        case 0x300: self = .builtin
        case 0x301: self = .tuple(elements: Int(unsafe metadata.load(fromByteOffset: 8, as: UInt.self)))
        case 0x308:
            // The kind, the count, the type of the elements. The count of a type without values may be negative.
            let count = unsafe metadata.load(fromByteOffset: 8, as: Int.self)
            self = .array(count: max(count, 0), of: unsafe Self.type(metadata, at: 16))
        default: self = .other
        }
    }

    private static func description(_ metadata: UnsafeRawPointer) -> UnsafeRawPointer {
        unsafe metadata.load(fromByteOffset: 8, as: UnsafeRawPointer.self)
    }

    private static func type(_ metadata: UnsafeRawPointer, at offset: Int) -> Any.Type {
        // A pointer to metadata is a metatype's value.
        unsafe unsafeBitCast(metadata.load(fromByteOffset: offset, as: UnsafeRawPointer.self), to: Any.Type.self)
    }
}
